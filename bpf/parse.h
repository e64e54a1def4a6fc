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
	/* "More fragments", and the offset. */
	IP4_FRAGMENT_MASK = 0x3fff,
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
	/* VLAN tags behind which Open vSwitch looks for the type of a frame, with the vlan-limit that OVN sets. */
	MAX_VLAN_TAGS = 2,
	VLAN_ID_MASK = 0x0fff,
	/* Element of skb->cb where load_ethernet notes what network_offset gives. */
	CB_NETWORK_OFFSET = 0,
};

struct ethernet {
	__u8 destination[ETH_ADDRESS_LENGTH];
	__u8 source[ETH_ADDRESS_LENGTH];
	__be16 type;
};
_Static_assert(sizeof(struct ethernet) == ETH_HLEN, "struct ethernet");

/* A VLAN tag as it stands in a frame, from behind the type that announces it. */
struct vlan_tag {
	__be16 tci;
	__be16 type; /* of what follows */
};
_Static_assert(sizeof(struct vlan_tag) == 4, "struct vlan_tag");

/* Between an 802.3 header, which has a length in the type's place, and the network layer (IEEE 802 10.3). */
struct snap {
	__u8 llc[3];
	__u8 organization[3];
	__be16 type;
};
_Static_assert(sizeof(struct snap) == 8, "struct snap");

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

struct icmp6 {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};
_Static_assert(sizeof(struct icmp6) == 8, "struct icmp6");

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

/* What a neighbour solicitation or advertisement says; zero where it does not. */
struct nd {
	struct in6_addr target;
	__u8 source_mac[ETH_ADDRESS_LENGTH];
	__u8 target_mac[ETH_ADDRESS_LENGTH];
};

/* An IPv6 packet up to its upper layer. */
struct ip6_packet {
	struct ipv6hdr header;
	__u32 end; /* what is behind it is padding */
	__u32 upper_offset;
	__u8 upper_protocol; /* IPPROTO_FRAGMENT in all but the first fragment: there is nothing to read behind it */
	bool is_fragment;
	__u16 pad;
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

/* Copies the start of the packet, at most `most` bytes, and says how many. */
static __always_inline __u32 load_start(struct __sk_buff *skb, void *to, __u32 most)
{
	__u32 length = skb->len < most ? skb->len : most;

	/* No device gives less. Linux 6.1's verifier learns from this comparison that the length is not 0; from "!= 0" it doesn't. */
	return length >= ETH_HLEN && load(skb, 0, to, length) ? length : 0;
}

/* A TAP leaves gso_segs to be found out. */
static __always_inline bool is_gso(const struct __sk_buff *skb)
{
	/* clang would keep the field's address for later, which the verifier takes for a changed context. */
	asm volatile("" : "+r"(skb));
	return skb->gso_size > 0;
}

static __always_inline bool is_vlan_type(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/* Where the network header is: behind the tags and the SNAP header in the packet, if load_ethernet found any. */
static __always_inline __u32 network_offset(struct __sk_buff *skb)
{
	return skb->cb[CB_NETWORK_OFFSET];
}

/* Other organizations than Ethernet's own number their protocols in their way. */
static __always_inline bool is_ethernet_snap(const struct snap *snap)
{
	return snap->llc[0] == 0xaa && snap->llc[1] == 0xaa && snap->llc[2] == 3 &&
	       (snap->organization[0] | snap->organization[1] | snap->organization[2]) == 0 &&
	       bpf_ntohs(snap->type) >= ETH_P_802_3_MIN;
}

/* The header with the type of what is behind the VLAN tags and the SNAP header, as Open vSwitch matches it; 0 where the
 * frame says none. The kernel takes the outer tag off a received frame and keeps it beside; BPF_PROG_TEST_RUN leaves it in. */
static __always_inline bool load_ethernet(struct __sk_buff *skb, struct ethernet *ethernet)
{
	__u32 offset = ETH_HLEN;
	struct vlan_tag tag;
	struct snap snap;

	if (!load(skb, 0, ethernet, sizeof(*ethernet)))
		return false;
	for (int tags = skb->vlan_present ? 1 : 0; tags < MAX_VLAN_TAGS; tags++) {
		if (!is_vlan_type(ethernet->type) || !load(skb, offset, &tag, sizeof(tag)))
			break;
		ethernet->type = tag.type;
		offset += sizeof(tag);
	}
	if (bpf_ntohs(ethernet->type) < ETH_P_802_3_MIN) {
		ethernet->type = 0;
		if (load(skb, offset, &snap, sizeof(snap)) && is_ethernet_snap(&snap)) {
			ethernet->type = snap.type;
			offset += sizeof(snap);
		}
	}
	skb->cb[CB_NETWORK_OFFSET] = offset;
	return true;
}

static __always_inline bool is_vlan_tagged(struct __sk_buff *skb)
{
	return skb->vlan_present || is_vlan_type(skb->protocol);
}

/* VLAN id of the outer tag, whichever of the two types it has; 0 for a frame without one, or with a priority only. */
static __always_inline __u16 outer_vlan_id(struct __sk_buff *skb)
{
	struct vlan_tag tag;

	if (skb->vlan_present)
		return skb->vlan_tci & VLAN_ID_MASK;
	if (!is_vlan_type(skb->protocol) || !load(skb, ETH_HLEN, &tag, sizeof(tag)))
		return 0;
	return bpf_ntohs(tag.tci) & VLAN_ID_MASK;
}

/* False also for an ARP that does not speak of IPv4 over Ethernet. */
static __always_inline bool load_arp(struct __sk_buff *skb, struct arp *arp)
{
	return load(skb, network_offset(skb), arp, sizeof(*arp)) && arp->hardware_type == bpf_htons(ARP_HARDWARE_ETHERNET) &&
	       arp->protocol_type == bpf_htons(ETH_P_IP) && arp->hardware_length == ETH_ADDRESS_LENGTH &&
	       arp->protocol_length == 4;
}

/* Whether an IP packet of this length can be what the frame holds. A GSO packet may say anything about its length (the
 * kernel rewrites it per segment), so it is not asked there. */
static __always_inline bool fits_ip(struct __sk_buff *skb, __u32 length)
{
	return is_gso(skb) || length <= skb->len - network_offset(skb);
}

/* False when the header is cut off, or its lengths are wrong. */
static __always_inline bool load_ip4(struct __sk_buff *skb, struct iphdr *ip)
{
	__u32 header_length, total_length;

	if (!load(skb, network_offset(skb), ip, sizeof(*ip)))
		return false;
	header_length = ip->ihl * 4;
	total_length = bpf_ntohs(ip->tot_len);
	return header_length >= sizeof(*ip) && header_length <= skb->len - network_offset(skb) &&
	       (is_gso(skb) || header_length <= total_length) && fits_ip(skb, total_length);
}

/* The UDP header of an IPv4 packet; false for another protocol, and for fragments, even the first: OVN sees no ports
 * there (ovs-ofctl(8), "normal" fragment handling). */
static __always_inline bool load_ip4_udp(struct __sk_buff *skb, const struct iphdr *ip, struct udphdr *udp)
{
	__u32 header_length = ip->ihl * 4;

	return ip->protocol == IPPROTO_UDP && !(ip->frag_off & bpf_htons(IP4_FRAGMENT_MASK)) &&
	       (is_gso(skb) || header_length + sizeof(*udp) <= bpf_ntohs(ip->tot_len)) &&
	       load(skb, network_offset(skb) + header_length, udp, sizeof(*udp));
}

static __always_inline bool has_extension_layout(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS;
}

/* Reads the fixed header. False when it is cut off, or its length is wrong. */
static __always_inline bool load_ip6(struct __sk_buff *skb, struct ip6_packet *packet)
{
	__u32 length;

	if (!load(skb, network_offset(skb), &packet->header, sizeof(packet->header)))
		return false;
	packet->upper_offset = network_offset(skb) + sizeof(packet->header);
	packet->upper_protocol = packet->header.nexthdr;
	packet->is_fragment = false;
	packet->pad = 0;
	length = sizeof(packet->header) + bpf_ntohs(packet->header.payload_len);
	packet->end = is_gso(skb) ? skb->len : network_offset(skb) + length;
	return fits_ip(skb, length);
}

/* Reads from the packet, not from the padding behind it. */
static __always_inline bool load_from_ip6(struct __sk_buff *skb, const struct ip6_packet *packet, __u32 offset,
					  void *to, __u32 length)
{
	return offset + length <= packet->end && load(skb, offset, to, length);
}

/* Walks the extension headers to the upper layer, which is IPPROTO_NONE where a header is cut off: Open vSwitch takes
 * such a packet for one without upper layer, too. False when there are too many. */
__noinline bool find_ip6_upper(struct __sk_buff *skb, struct ip6_packet *packet)
{
	struct {
		__u8 next;
		__u8 length;
		__be16 fragment_offset;
		__be32 rest;
	} extension;

	if (!packet)
		return false;
	for (int i = 0; i < MAX_IP6_EXTENSIONS; i++) {
		__u8 protocol = packet->upper_protocol;

		if (!has_extension_layout(protocol) && protocol != IPPROTO_AH && protocol != IPPROTO_FRAGMENT)
			return true;
		if (!load_from_ip6(skb, packet, packet->upper_offset, &extension, sizeof(extension))) {
			packet->upper_protocol = IPPROTO_NONE;
			return true;
		}
		if (protocol == IPPROTO_FRAGMENT) {
			packet->is_fragment |= extension.fragment_offset != 0;
			if (extension.fragment_offset & bpf_htons(IP6_FRAGMENT_OFFSET_MASK))
				return true;
			packet->upper_offset += sizeof(extension);
		} else if (protocol == IPPROTO_AH) {
			packet->upper_offset += (extension.length + 2) * 4;
		} else {
			packet->upper_offset += (extension.length + 1) * 8;
		}
		packet->upper_protocol = packet->upper_offset <= packet->end ? extension.next : IPPROTO_NONE;
	}
	return false;
}

static __always_inline bool is_unspecified_ip6(const struct in6_addr *address)
{
	return (address->s6_addr32[0] | address->s6_addr32[1] | address->s6_addr32[2] | address->s6_addr32[3]) == 0;
}

/* The ICMPv6 header of a packet whose upper layer is known; false for another protocol. */
static __always_inline bool load_icmp6(struct __sk_buff *skb, const struct ip6_packet *packet, struct icmp6 *icmp)
{
	return packet->upper_protocol == IPPROTO_ICMPV6 &&
	       load_from_ip6(skb, packet, packet->upper_offset, icmp, sizeof(*icmp));
}

/* Keeps a link-layer address; false when there was one before. */
static __always_inline bool keep_once(__u8 *kept, const __u8 *address)
{
	if (!is_zero_mac(kept))
		return false;
	__builtin_memcpy(kept, address, ETH_ADDRESS_LENGTH);
	return true;
}

/* Reads the message behind an ICMPv6 header. The options end at one that is cut off, and a message that gives a
 * link-layer address twice says nothing at all. False when there are too many options. */
__noinline bool load_nd(struct __sk_buff *skb, const struct ip6_packet *packet, struct nd *nd)
{
	struct nd_option option;
	__u32 offset;

	if (!packet || !nd)
		return false;
	offset = packet->upper_offset + sizeof(struct icmp6);
	__builtin_memset(nd, 0, sizeof(*nd));
	if (!load_from_ip6(skb, packet, offset, &nd->target, sizeof(nd->target)))
		return true;
	offset += sizeof(nd->target);
	for (int i = 0; i < MAX_ND_OPTIONS; i++) {
		bool first = true;

		if (!load_from_ip6(skb, packet, offset, &option, sizeof(option)) || option.length == 0 ||
		    offset + option.length * 8 > packet->end)
			return true;
		if (option.length == 1 && option.type == ND_OPTION_SOURCE_LINK_ADDRESS)
			first = keep_once(nd->source_mac, option.address);
		else if (option.length == 1 && option.type == ND_OPTION_TARGET_LINK_ADDRESS)
			first = keep_once(nd->target_mac, option.address);
		if (!first) {
			__builtin_memset(nd, 0, sizeof(*nd));
			return true;
		}
		offset += option.length * 8;
	}
	return offset + sizeof(option) > packet->end;
}
