/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What happens to a packet that does not fit through a tunnel: the sender is told by ICMP "fragmentation needed" or
 * ICMPv6 "packet too big", in the name of the packet's destination, as the kernel's own tunnel devices do on a bridge. An
 * IPv4 packet that may be fragmented is answered, too: nobody here fragments it, but its sender will. */

#include "arp_nd_responder.h"
#include "geneve.h"
#include "port_security.h"

enum {
	IP4_OFFSET_MASK = 0x1fff,
	ICMP4_DESTINATION_UNREACHABLE = 3,
	ICMP4_SOURCE_QUENCH = 4,
	ICMP4_REDIRECT = 5,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER_PROBLEM = 12,
	ICMP4_FRAGMENTATION_NEEDED = 4, /* a code */
	ICMP6_PACKET_TOO_BIG = 2,
	ICMP6_FIRST_INFORMATIONAL = 128,
	/* How much of the packet the answer quotes: the longest IPv4 header and 8 bytes (RFC 792); the fixed IPv6 header and
	 * what leaves room for some extension headers before the ports. */
	QUOTED_IP4 = 68,
	QUOTED_IP6 = 104,
	TCP_CHECKSUM_OFFSET = 16,
	UDP_CHECKSUM_OFFSET = 6,
};

struct icmp_error {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 mtu;
};
_Static_assert(sizeof(struct icmp_error) == 8, "struct icmp_error");

/* The length of the IP packet that would leave: of its longest segment where the kernel segments it. */
static __always_inline __u32 longest_segment(struct __sk_buff *skb, __be16 type)
{
	__u32 offset = network_offset(skb), transport, header;
	__u8 start, protocol, data_offset;

	if (!is_gso(skb) || !is_ip(type) || !load(skb, offset, &start, sizeof(start)))
		return skb->len - offset;
	transport = type == bpf_htons(ETH_P_IP) ? (start & 0xf) * 4 : sizeof(struct ipv6hdr);
	header = sizeof(struct udphdr);
	if (load(skb, offset + (type == bpf_htons(ETH_P_IP) ? 9 : 6), &protocol, sizeof(protocol)) &&
	    protocol == IPPROTO_TCP && load(skb, offset + transport + 12, &data_offset, sizeof(data_offset)))
		header = (data_offset >> 4) * 4;
	return transport + header + skb->gso_size;
}

/* What of a packet's network layer goes through the tunnel. */
static __always_inline __u32 inner_mtu(struct __sk_buff *skb, const struct tunnel *tunnel)
{
	__u32 tag = skb->vlan_present ? sizeof(struct vlan_tag) : 0;

	return tunnel->mtu - tunnel_overhead(tunnel) - network_offset(skb) - tag;
}

static __always_inline bool fits_tunnel(struct __sk_buff *skb, const struct tunnel *tunnel, __be16 type)
{
	return longest_segment(skb, type) <= inner_mtu(skb, tunnel);
}

/* A packet whose checksum the kernel has yet to fill in remains one when it has become the answer, with the place of the
 * checksum now in the quote. If it is ever filled in, it must not change: f with -(rest + f) == f in the checksum's
 * arithmetic, modulo 0xffff, that is -rest / 2, and 1/2 is 0x8000 there. */
static __always_inline __u16 settled_checksum(__s64 rest)
{
	return (__u64)(__u16)fold_checksum(rest) * 0x8000 % 0xffff;
}

/* `transport` are the quoted bytes from the transport header on. */
static __always_inline void settle_transport(__u8 *transport, __u32 length, __u8 protocol)
{
	__u16 *checksum;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return;
	checksum = (__u16 *)(transport + (protocol == IPPROTO_TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET));
	*checksum = 0;
	*checksum = settled_checksum(bpf_csum_diff(NULL, 0, (__be32 *)transport, length, 0));
}

/* ICMP does not speak of its own errors, of fragments but the first, or of what was sent to many (RFC 1122 3.2.2). */
static __always_inline bool may_answer_ip4(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u8 type;

	if ((ip->frag_off & bpf_htons(IP4_OFFSET_MASK)) || ip->saddr == 0 || is_ip4_multicast(ip->daddr) ||
	    ip->daddr == bpf_htonl(INADDR_BROADCAST))
		return false;
	if (ip->protocol != IPPROTO_ICMP)
		return true;
	return load(skb, ETH_HLEN + ip->ihl * 4, &type, sizeof(type)) && type != ICMP4_DESTINATION_UNREACHABLE &&
	       type != ICMP4_SOURCE_QUENCH && type != ICMP4_REDIRECT && type != ICMP4_TIME_EXCEEDED &&
	       type != ICMP4_PARAMETER_PROBLEM;
}

/* Cuts the packet to what is quoted and makes room for the headers before it. */
static __always_inline bool make_quote(struct __sk_buff *skb, __u32 quoted, __u32 headers)
{
	return bpf_skb_change_tail(skb, ETH_HLEN + quoted, 0) == 0 &&
	       bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) == 0;
}

__noinline bool answer_too_big_ip4(struct __sk_buff *skb, __u32 mtu)
{
	struct {
		__u16 alignment;
		struct ethernet ethernet;
		struct iphdr ip;
		struct icmp_error icmp;
		__u8 quoted[QUOTED_IP4];
	} answer = {};
	struct ethernet ethernet;
	struct iphdr ip;

	if (!load(skb, 0, &ethernet, sizeof(ethernet)) || !load_ip4(skb, &ip) || !may_answer_ip4(skb, &ip) ||
	    !load(skb, ETH_HLEN, answer.quoted, QUOTED_IP4))
		return false;
	if (ip.ihl == 5)
		settle_transport(answer.quoted + sizeof(ip), QUOTED_IP4 - sizeof(ip), ip.protocol);
	__builtin_memcpy(answer.ethernet.destination, ethernet.source, ETH_ADDRESS_LENGTH);
	__builtin_memcpy(answer.ethernet.source, ethernet.destination, ETH_ADDRESS_LENGTH);
	answer.ethernet.type = ethernet.type;
	*(__u8 *)&answer.ip = IP4_VERSION_AND_LENGTH;
	answer.ip.tot_len = bpf_htons(sizeof(answer.ip) + sizeof(answer.icmp) + QUOTED_IP4);
	answer.ip.ttl = TUNNEL_TTL;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.saddr = ip.daddr;
	answer.ip.daddr = ip.saddr;
	answer.ip.check = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip, sizeof(answer.ip), 0));
	answer.icmp.type = ICMP4_DESTINATION_UNREACHABLE;
	answer.icmp.code = ICMP4_FRAGMENTATION_NEEDED;
	answer.icmp.mtu = bpf_htonl(mtu & 0xffff);
	answer.icmp.checksum =
		fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, sizeof(answer.icmp) + QUOTED_IP4, 0));
	return make_quote(skb, QUOTED_IP4, sizeof(answer.ip) + sizeof(answer.icmp)) &&
	       bpf_skb_store_bytes(skb, 0, &answer.ethernet, sizeof(answer) - sizeof(answer.alignment),
				   BPF_F_INVALIDATE_HASH) == 0;
}

static __always_inline bool may_answer_ip6(struct __sk_buff *skb, const struct ipv6hdr *ip)
{
	__u8 type;

	if (is_unspecified_ip6(&ip->saddr) || ip->saddr.s6_addr[0] == 0xff || ip->daddr.s6_addr[0] == 0xff)
		return false;
	return ip->nexthdr != IPPROTO_ICMPV6 || (load(skb, ETH_HLEN + sizeof(*ip), &type, sizeof(type)) &&
						 type >= ICMP6_FIRST_INFORMATIONAL);
}

__noinline bool answer_too_big_ip6(struct __sk_buff *skb, __u32 mtu)
{
	struct {
		__u16 alignment;
		struct ethernet ethernet;
		struct ipv6hdr ip;
		struct icmp_error icmp;
		__u8 quoted[QUOTED_IP6];
	} answer = {};
	struct ethernet ethernet;
	struct ipv6hdr ip;
	__s64 sum;

	if (!load(skb, 0, &ethernet, sizeof(ethernet)) || !load(skb, ETH_HLEN, &ip, sizeof(ip)) ||
	    !may_answer_ip6(skb, &ip) || !load(skb, ETH_HLEN, answer.quoted, QUOTED_IP6))
		return false;
	settle_transport(answer.quoted + sizeof(ip), QUOTED_IP6 - sizeof(ip), ip.nexthdr);
	__builtin_memcpy(answer.ethernet.destination, ethernet.source, ETH_ADDRESS_LENGTH);
	__builtin_memcpy(answer.ethernet.source, ethernet.destination, ETH_ADDRESS_LENGTH);
	answer.ethernet.type = ethernet.type;
	*(__be32 *)&answer.ip = bpf_htonl(IP6_VERSION);
	answer.ip.payload_len = bpf_htons(sizeof(answer.icmp) + QUOTED_IP6);
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.hop_limit = TUNNEL_TTL;
	answer.ip.saddr = ip.daddr;
	answer.ip.daddr = ip.saddr;
	answer.icmp.type = ICMP6_PACKET_TOO_BIG;
	answer.icmp.mtu = bpf_htonl(mtu);
	sum = bpf_htonl(sizeof(answer.icmp) + QUOTED_IP6 + IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip.saddr, 2 * sizeof(struct in6_addr), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, sizeof(answer.icmp) + QUOTED_IP6, sum);
	answer.icmp.checksum = fold_checksum(sum);
	return make_quote(skb, QUOTED_IP6, sizeof(answer.ip) + sizeof(answer.icmp)) &&
	       bpf_skb_store_bytes(skb, 0, &answer.ethernet, sizeof(answer) - sizeof(answer.alignment),
				   BPF_F_INVALIDATE_HASH) == 0;
}

/* The packet, which does not fit through the tunnel, becomes the answer to it where there is one. */
static __always_inline bool answer_too_big(struct __sk_buff *skb, const struct tunnel *tunnel, __be16 type)
{
	__u32 mtu = inner_mtu(skb, tunnel);

	if (network_offset(skb) != ETH_HLEN || skb->vlan_present)
		return false;
	if (type == bpf_htons(ETH_P_IP))
		return answer_too_big_ip4(skb, mtu);
	return type == bpf_htons(ETH_P_IPV6) && answer_too_big_ip6(skb, mtu);
}
