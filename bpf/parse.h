/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Readers of packet headers. They copy to the stack with bpf_skb_load_bytes, which is bounds-checked by the kernel
 * and does not care where in the skb the bytes are, so nothing that a VM sends can make a header "not there".
 * What counts as readable is what Open vSwitch's flow extraction accepts, since port security must agree with it. */

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

enum {
	ARP_HARDWARE_ETHERNET = 1,
	DHCP_SERVER_PORT = 67,
	DHCP_CLIENT_PORT = 68,
	IP4_FRAGMENT_OFFSET_MASK = 0x1fff,
	IP6_FRAGMENT_OFFSET_MASK = 0xfff8,
	/* Extension headers and ND options that are looked at. OVN has no such bound; a packet with more counts as
	 * malformed, so that nothing hides behind them. */
	MAX_IP6_EXTENSIONS = 8,
	MAX_ND_OPTIONS = 8,
	ND_NEIGHBOUR_SOLICIT = 135,
	ND_NEIGHBOUR_ADVERT = 136,
	ND_OPTION_TARGET_LINK_ADDRESS = 2,
	ND_OPTION_SOURCE_LINK_ADDRESS = 1,
	ND_HOP_LIMIT = 255,
};

struct ethernet {
	__u8 destination[ETH_ADDRESS_LENGTH];
	__u8 source[ETH_ADDRESS_LENGTH];
	__be16 type;
};
_Static_assert(sizeof(struct ethernet) == ETH_HLEN, "struct ethernet");

struct arp {
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ADDRESS_LENGTH];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ADDRESS_LENGTH];
	__u8 target_ip[4];
} __attribute__((packed));
_Static_assert(sizeof(struct arp) == 28, "struct arp");

/* The fixed part of a neighbour solicitation or advertisement. */
struct nd_message {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct in6_addr target;
};
_Static_assert(sizeof(struct nd_message) == 24, "struct nd_message");

struct nd_option {
	__u8 type;
	__u8 length; /* in units of 8 bytes, this header included */
	__u8 address[ETH_ADDRESS_LENGTH];
};
_Static_assert(sizeof(struct nd_option) == 8, "struct nd_option");

/* An IPv6 packet up to its upper layer. */
struct ip6_packet {
	struct ipv6hdr header;
	__u32 upper_offset;
	__u8 upper_protocol; /* IPPROTO_FRAGMENT in all but the first fragment: there is nothing to read behind it */
};

static __always_inline bool is_multicast(const __u8 *mac)
{
	return mac[0] & 1;
}

/* Byte by byte: clang 14 makes a call to memcmp, which eBPF does not have, of a comparison of six bytes. */
static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

static __always_inline bool is_broadcast(const __u8 *mac)
{
	return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}

static __always_inline bool is_zero_mac(const __u8 *mac)
{
	return (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0;
}

static __always_inline bool load(struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	return bpf_skb_load_bytes(skb, offset, to, length) == 0;
}

static __always_inline bool load_ethernet(struct __sk_buff *skb, struct ethernet *ethernet)
{
	return load(skb, 0, ethernet, sizeof(*ethernet));
}

/* The kernel takes the outer tag off a received frame and keeps it beside; BPF_PROG_TEST_RUN leaves it in. */
static __always_inline bool is_vlan_tagged(struct __sk_buff *skb, const struct ethernet *ethernet)
{
	return skb->vlan_present || ethernet->type == bpf_htons(ETH_P_8021Q) || ethernet->type == bpf_htons(ETH_P_8021AD);
}

/* False also for an ARP that does not speak of IPv4 over Ethernet. */
static __always_inline bool load_arp(struct __sk_buff *skb, struct arp *arp)
{
	return load(skb, ETH_HLEN, arp, sizeof(*arp)) && arp->hardware_type == bpf_htons(ARP_HARDWARE_ETHERNET) &&
	       arp->protocol_type == bpf_htons(ETH_P_IP) && arp->hardware_length == ETH_ADDRESS_LENGTH &&
	       arp->protocol_length == 4;
}

/* tot_len of a GSO packet may be anything (the kernel rewrites it per segment), so it is not held against the
 * packet's size there. */
static __always_inline bool load_ip4(struct __sk_buff *skb, struct iphdr *ip)
{
	__u32 header_length, total_length, available;

	if (!load(skb, ETH_HLEN, ip, sizeof(*ip)))
		return false;
	header_length = ip->ihl * 4;
	total_length = bpf_ntohs(ip->tot_len);
	available = skb->len - ETH_HLEN;
	if (header_length < sizeof(*ip) || header_length > available)
		return false;
	return skb->gso_segs > 0 || (header_length <= total_length && total_length <= available);
}

/* The UDP header of an IPv4 packet; false for another protocol, and for fragments but the first. */
static __always_inline bool load_ip4_udp(struct __sk_buff *skb, const struct iphdr *ip, struct udphdr *udp)
{
	return ip->protocol == IPPROTO_UDP && !(ip->frag_off & bpf_htons(IP4_FRAGMENT_OFFSET_MASK)) &&
	       load(skb, ETH_HLEN + ip->ihl * 4, udp, sizeof(*udp));
}

static __always_inline bool has_extension_layout(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS;
}

/* False when the header is cut off or claims more than there is. */
static __always_inline bool load_ip6(struct __sk_buff *skb, struct ipv6hdr *header)
{
	if (!load(skb, ETH_HLEN, header, sizeof(*header)))
		return false;
	return skb->gso_segs > 0 || bpf_ntohs(header->payload_len) <= skb->len - ETH_HLEN - sizeof(*header);
}

/* Walks the extension headers to the upper layer, which is IPPROTO_NONE where a header is cut off: Open vSwitch takes
 * such a packet for one without upper layer, too. False when there are too many. */
static __always_inline bool find_ip6_upper(struct __sk_buff *skb, struct ip6_packet *packet)
{
	struct {
		__u8 next;
		__u8 length;
		__be16 fragment_offset;
		__be32 rest;
	} extension;

	packet->upper_protocol = packet->header.nexthdr;
	packet->upper_offset = ETH_HLEN + sizeof(packet->header);
	for (int i = 0; i < MAX_IP6_EXTENSIONS; i++) {
		__u8 protocol = packet->upper_protocol;

		if (!has_extension_layout(protocol) && protocol != IPPROTO_AH && protocol != IPPROTO_FRAGMENT)
			return true;
		if (!load(skb, packet->upper_offset, &extension, sizeof(extension))) {
			packet->upper_protocol = IPPROTO_NONE;
			return true;
		}
		if (protocol == IPPROTO_FRAGMENT) {
			if (extension.fragment_offset & bpf_htons(IP6_FRAGMENT_OFFSET_MASK))
				return true;
			packet->upper_offset += sizeof(extension);
		} else if (protocol == IPPROTO_AH) {
			packet->upper_offset += (extension.length + 2) * 4;
		} else {
			packet->upper_offset += (extension.length + 1) * 8;
		}
		packet->upper_protocol = packet->upper_offset <= skb->len ? extension.next : IPPROTO_NONE;
	}
	return false;
}

static __always_inline bool is_unspecified_ip6(const struct in6_addr *address)
{
	return (address->s6_addr32[0] | address->s6_addr32[1] | address->s6_addr32[2] | address->s6_addr32[3]) == 0;
}

/* The address of the target link-layer option, zero where there is none. False when the options can't be trusted:
 * cut off, of length zero, or one of the link-layer kind twice. */
static __always_inline bool load_nd_target_mac(struct __sk_buff *skb, __u32 offset, __u8 *mac)
{
	struct nd_option option;
	bool source_seen = false, target_seen = false;

	__builtin_memset(mac, 0, ETH_ADDRESS_LENGTH);
	for (int i = 0; i < MAX_ND_OPTIONS; i++) {
		if (offset + sizeof(option) > skb->len)
			return true;
		if (!load(skb, offset, &option, sizeof(option)))
			return false;
		if (option.length == 0 || offset + option.length * 8 > skb->len)
			return false;
		if (option.length == 1 && option.type == ND_OPTION_TARGET_LINK_ADDRESS) {
			if (target_seen)
				return false;
			target_seen = true;
			__builtin_memcpy(mac, option.address, ETH_ADDRESS_LENGTH);
		} else if (option.length == 1 && option.type == ND_OPTION_SOURCE_LINK_ADDRESS) {
			if (source_seen)
				return false;
			source_seen = true;
		}
		offset += option.length * 8;
	}
	return offset + sizeof(option) > skb->len;
}
