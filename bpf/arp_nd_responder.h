/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Answers broadcast ARP requests and multicast neighbour solicitations for the addresses that OVN knows, as its
 * ls_in_arp_rsp stage does, so that they need not flood the switch. A unicast query goes to the owner, who shows by
 * its answer that it is alive; a query from the owner itself (duplicate address detection) is flooded. */

#include "maps.h"
#include "parse.h"

enum answer {
	NOT_ANSWERED,
	ANSWERED, /* the packet is now the answer, to go back to where it came from */
	ANSWER_FAILED,
};

enum {
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	ND_FLAGS_SOLICITED_OVERRIDE = 0x60000000,
	IP6_VERSION = 0x60000000,
	ADVERT_LENGTH = 86,
};

static __always_inline const struct neighbour *find_neighbour(const struct port *from, enum ip_family family,
							      const void *address)
{
	struct neighbour_key key = { .datapath_key = from->datapath_key, .family = family };
	const struct neighbour *neighbour;

	if (family == FAMILY_IP4)
		__builtin_memcpy(key.address, address, 4);
	else
		__builtin_memcpy(key.address, address, 16);
	neighbour = bpf_map_lookup_elem(&neighbours, &key);
	return neighbour && neighbour->port_key != from->port_key ? neighbour : NULL;
}

/* Puts the answer, `length` bytes from its Ethernet header on, in the query's place. */
static __always_inline enum answer become(struct __sk_buff *skb, const struct ethernet *ethernet, __u32 length)
{
	return bpf_skb_store_bytes(skb, 0, ethernet, length, BPF_F_INVALIDATE_HASH) == 0 ? ANSWERED : ANSWER_FAILED;
}

static __always_inline enum answer answer_arp(struct __sk_buff *skb, const struct port *from,
					      const struct ethernet *ethernet)
{
	const struct neighbour *neighbour;
	struct {
		struct ethernet ethernet;
		struct arp arp;
	} reply;
	struct arp request;

	if (!is_broadcast(ethernet->destination) || !load_arp(skb, &request) ||
	    request.operation != bpf_htons(ARP_REQUEST))
		return NOT_ANSWERED;
	neighbour = find_neighbour(from, FAMILY_IP4, request.target_ip);
	if (!neighbour)
		return NOT_ANSWERED;

	__builtin_memcpy(reply.ethernet.destination, ethernet->source, ETH_ADDRESS_LENGTH);
	__builtin_memcpy(reply.ethernet.source, neighbour->mac, ETH_ADDRESS_LENGTH);
	reply.ethernet.type = ethernet->type;
	reply.arp = request;
	reply.arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(reply.arp.sender_mac, neighbour->mac, ETH_ADDRESS_LENGTH);
	__builtin_memcpy(reply.arp.sender_ip, request.target_ip, sizeof(request.target_ip));
	__builtin_memcpy(reply.arp.target_mac, request.sender_mac, ETH_ADDRESS_LENGTH);
	__builtin_memcpy(reply.arp.target_ip, request.sender_ip, sizeof(request.sender_ip));
	return become(skb, &reply.ethernet, sizeof(reply));
}

/* The frame begins at `ethernet`; what is before it aligns the rest. */
struct neighbour_advert {
	__u16 alignment;
	struct ethernet ethernet;
	struct ipv6hdr ip;
	struct nd_message message;
	struct nd_option target_mac;
};
_Static_assert(sizeof(struct neighbour_advert) == sizeof(__u16) + ADVERT_LENGTH, "struct neighbour_advert");

/* The solicitation in the packet; false for anything else. */
static __always_inline bool load_solicitation(struct __sk_buff *skb, struct ip6_packet *packet, struct nd *nd)
{
	struct icmp6 icmp;

	return load_ip6(skb, packet) && find_ip6_upper(skb, packet) && !packet->is_fragment &&
	       packet->header.hop_limit == ND_HOP_LIMIT && load_icmp6(skb, packet, &icmp) && icmp.type == ND_NEIGHBOUR_SOLICIT && icmp.code == 0 &&
	       load_nd(skb, packet, nd);
}

/* ff02::1:ffXX:XXXX with the last 24 bits of the target (RFC 4291 2.7.1). */
static __always_inline bool is_solicited_node(const struct in6_addr *group, const struct in6_addr *target)
{
	return group->s6_addr32[0] == bpf_htonl(0xff020000) && group->s6_addr32[1] == 0 &&
	       group->s6_addr32[2] == bpf_htonl(1) &&
	       group->s6_addr32[3] == (target->s6_addr32[3] | bpf_htonl(0xff000000));
}

/* Over the pseudo header (RFC 8200 8.1) and the message with its option. */
static __always_inline __be16 icmp6_checksum(struct neighbour_advert *advert)
{
	const __u32 length = sizeof(advert->message) + sizeof(advert->target_mac);
	__s64 sum = bpf_htonl(length + IPPROTO_ICMPV6);

	sum = bpf_csum_diff(NULL, 0, (__be32 *)&advert->ip.saddr, 2 * sizeof(struct in6_addr), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&advert->message, length, sum);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline enum answer answer_nd(struct __sk_buff *skb, const struct port *from,
					     const struct ethernet *ethernet)
{
	const struct neighbour *neighbour;
	struct neighbour_advert advert = {};
	struct nd solicitation = {};
	struct ip6_packet packet;

	if (!load_solicitation(skb, &packet, &solicitation) ||
	    !is_solicited_node(&packet.header.daddr, &solicitation.target))
		return NOT_ANSWERED;
	neighbour = find_neighbour(from, FAMILY_IP6, &solicitation.target);
	if (!neighbour)
		return NOT_ANSWERED;

	__builtin_memcpy(advert.ethernet.destination, ethernet->source, ETH_ADDRESS_LENGTH);
	__builtin_memcpy(advert.ethernet.source, neighbour->mac, ETH_ADDRESS_LENGTH);
	advert.ethernet.type = ethernet->type;
	*(__be32 *)&advert.ip = bpf_htonl(IP6_VERSION);
	advert.ip.payload_len = bpf_htons(sizeof(advert.message) + sizeof(advert.target_mac));
	advert.ip.nexthdr = IPPROTO_ICMPV6;
	advert.ip.hop_limit = ND_HOP_LIMIT;
	advert.ip.saddr = solicitation.target;
	advert.ip.daddr = packet.header.saddr;
	advert.message.type = ND_NEIGHBOUR_ADVERT;
	advert.message.flags = bpf_htonl(ND_FLAGS_SOLICITED_OVERRIDE);
	advert.message.target = solicitation.target;
	advert.target_mac.type = ND_OPTION_TARGET_LINK_ADDRESS;
	advert.target_mac.length = 1;
	__builtin_memcpy(advert.target_mac.address, neighbour->mac, ETH_ADDRESS_LENGTH);
	advert.message.checksum = icmp6_checksum(&advert);
	if (bpf_skb_change_tail(skb, ADVERT_LENGTH, 0) != 0)
		return ANSWER_FAILED;
	return become(skb, &advert.ethernet, ADVERT_LENGTH);
}

/* For frames to a multicast address. They are untagged: a switch that lets tags pass has no neighbours, as in OVN. One
 * with a SNAP header, which OVN answers in kind, is left to the owner. */
__noinline enum answer answer_neighbour_query(struct __sk_buff *skb, const struct port *from,
					      const struct ethernet *ethernet)
{
	if (!from || !ethernet || network_offset(skb) != ETH_HLEN)
		return NOT_ANSWERED;
	if (ethernet->type == bpf_htons(ETH_P_ARP))
		return answer_arp(skb, from, ethernet);
	if (ethernet->type == bpf_htons(ETH_P_IPV6))
		return answer_nd(skb, from, ethernet);
	return NOT_ANSWERED;
}
