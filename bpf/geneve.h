/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* OVN's Geneve packets (RFC 8926; ovn-architecture(7), "Tunnel Encapsulations"): the VNI is the datapath's tunnel key,
 * one option has the keys of the two ports. Where the kernel has no device for them (tunnel_device.h), frames are put into
 * them here as Open vSwitch does, but for the outer UDP checksum, which is zero: it can't be had for GSO packets. */

#include "encap.h"

enum {
	GENEVE_PORT = 6081,
	GENEVE_VERSION_MASK = 0xc0,
	GENEVE_OPTIONS_LENGTH_MASK = 0x3f, /* in units of 4 bytes */
	GENEVE_CONTROL = 0x80,
	GENEVE_CRITICAL = 0x40,
	GENEVE_OPTIONS_LENGTH = 2,
	OVN_OPTION_CLASS = 0x0102,
	OVN_OPTION_TYPE = 0x80, /* with the bit that makes it critical */
	OVN_OPTION_LENGTH = 1,
	OVN_INGRESS_KEY_MASK = 0x7fff,
	OVN_EGRESS_KEY_MASK = 0xffff,
	/* Open vSwitch's range of source ports. */
	TUNNEL_PORT_MIN = 32768,
	TUNNEL_PORT_MAX = 61000,
	/* VLAN tags that a frame beside which the kernel keeps one may have in all. */
	EMBEDDED_TAGS = 3,
	IP4_VERSION_AND_LENGTH = 0x45,
	IP4_DONT_FRAGMENT = 0x4000,
	ECN_MASK = 3,
	ECN_ECT_0 = 2,
	ECN_CONGESTION = 3,
};

struct ovn_option {
	__be16 class;
	__u8 type;
	__u8 length; /* lower 5 bits, in units of 4 bytes */
	__be32 port_keys;
};

struct geneve {
	__u8 version_and_options_length;
	__u8 flags;
	__be16 protocol;
	__be32 vni; /* in the upper 24 bits */
	struct ovn_option option;
};
_Static_assert(sizeof(struct geneve) == 16, "struct geneve");

/* Everything between the outer IP header and the inner frame. */
struct geneve_packet {
	struct udphdr udp;
	struct geneve geneve;
};
_Static_assert(sizeof(struct geneve_packet) == GENEVE_HEADERS_LENGTH, "struct geneve_packet");

static __always_inline struct ovn_option ovn_option(const struct passage *passage)
{
	return (struct ovn_option){
		.class = bpf_htons(OVN_OPTION_CLASS),
		.type = OVN_OPTION_TYPE,
		.length = OVN_OPTION_LENGTH,
		.port_keys = bpf_htonl(passage->from_key << 16 | passage->to_key),
	};
}

/* False when it is another option. */
static __always_inline bool read_ovn_option(const struct ovn_option *option, struct passage *passage)
{
	__u32 keys = bpf_ntohl(option->port_keys);

	passage->from_key = keys >> 16 & OVN_INGRESS_KEY_MASK;
	passage->to_key = keys & OVN_EGRESS_KEY_MASK;
	return option->class == bpf_htons(OVN_OPTION_CLASS) && option->type == OVN_OPTION_TYPE &&
	       option->length == OVN_OPTION_LENGTH;
}

enum encapsulation {
	ENCAPSULATED,
	NEEDS_SEGMENTING, /* a GSO packet that can not be put into one tunnel packet; it is as it was */
	NOT_ENCAPSULATED,
};

static __always_inline bool is_ip(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_IP) || ethertype == bpf_htons(ETH_P_IPV6);
}

/* The traffic class of the IP packet at `offset`; 0 where that is none. */
static __always_inline __u8 traffic_class(struct __sk_buff *skb, __u32 offset, __be16 ethertype)
{
	__u8 start[2];

	if (!is_ip(ethertype) || !load(skb, offset, start, sizeof(start)))
		return 0;
	return ethertype == bpf_htons(ETH_P_IP) ? start[1] : (__u8)(start[0] << 4 | start[1] >> 4);
}

/* As Open vSwitch: congestion met inside is not told outside, the ability to tell is (RFC 6040, compatibility mode). */
static __always_inline __u8 outer_traffic_class(__u8 inner)
{
	__u8 ecn = inner & ECN_MASK;

	return ecn == ECN_CONGESTION ? ECN_ECT_0 : ecn;
}

static __always_inline __be16 fold_checksum(__s64 sum)
{
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A GSO packet may be longer than the field can say; the kernel writes it anew for each segment. */
static __always_inline __be16 length_field(__u32 length)
{
	return length > 0xffff ? 0 : bpf_htons(length);
}

/* The outer Ethernet and IPv4 headers. MACs are left zero: bpf_redirect_neigh knows the next hop's. */
static __always_inline long store_outer_ip4(struct __sk_buff *skb, const struct tunnel *tunnel, __u8 class)
{
	struct {
		__u16 alignment;
		struct ethernet ethernet;
		struct iphdr ip;
	} outer = {};

	outer.ethernet.type = bpf_htons(ETH_P_IP);
	*(__u8 *)&outer.ip = IP4_VERSION_AND_LENGTH;
	outer.ip.tos = class;
	outer.ip.tot_len = length_field(skb->len - ETH_HLEN);
	outer.ip.frag_off = bpf_htons(IP4_DONT_FRAGMENT);
	outer.ip.ttl = TUNNEL_TTL;
	outer.ip.protocol = IPPROTO_UDP;
	__builtin_memcpy(&outer.ip.saddr, tunnel->local, sizeof(outer.ip.saddr));
	__builtin_memcpy(&outer.ip.daddr, tunnel->remote, sizeof(outer.ip.daddr));
	outer.ip.check = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&outer.ip, sizeof(outer.ip), 0));
	return bpf_skb_store_bytes(skb, 0, &outer.ethernet, ETH_HLEN + sizeof(outer.ip), 0);
}

static __always_inline long store_outer_ip6(struct __sk_buff *skb, const struct tunnel *tunnel, __u8 class)
{
	struct {
		__u16 alignment;
		struct ethernet ethernet;
		struct ipv6hdr ip;
	} outer = {};

	outer.ethernet.type = bpf_htons(ETH_P_IPV6);
	*(__be32 *)&outer.ip = bpf_htonl(6U << 28 | (__u32)class << 20);
	outer.ip.payload_len = length_field(skb->len - ETH_HLEN - sizeof(outer.ip));
	outer.ip.nexthdr = IPPROTO_UDP;
	outer.ip.hop_limit = TUNNEL_TTL;
	__builtin_memcpy(&outer.ip.saddr, tunnel->local, sizeof(outer.ip.saddr));
	__builtin_memcpy(&outer.ip.daddr, tunnel->remote, sizeof(outer.ip.daddr));
	return bpf_skb_store_bytes(skb, 0, &outer.ethernet, ETH_HLEN + sizeof(outer.ip), 0);
}

/* The headers that differ from one tunnel to the next. */
__noinline int store_outer_ip(struct __sk_buff *skb, const struct tunnel *tunnel, __u8 class)
{
	if (!tunnel)
		return -1;
	return tunnel->family == FAMILY_IP4 ? store_outer_ip4(skb, tunnel, class) : store_outer_ip6(skb, tunnel, class);
}

static __always_inline long store_geneve(struct __sk_buff *skb, __u32 offset, const struct passage *passage, __u32 hash)
{
	struct geneve_packet packet = {
		.udp.source = bpf_htons(TUNNEL_PORT_MIN + (__u16)((__u64)hash * (TUNNEL_PORT_MAX - TUNNEL_PORT_MIN) >> 32)),
		.udp.dest = bpf_htons(GENEVE_PORT),
		.udp.len = length_field(skb->len - offset),
		.geneve.version_and_options_length = GENEVE_OPTIONS_LENGTH,
		.geneve.flags = GENEVE_CRITICAL,
		.geneve.protocol = bpf_htons(ETH_P_TEB),
		.geneve.vni = bpf_htonl(passage->datapath_key << 8),
		.geneve.option = ovn_option(passage),
	};

	return bpf_skb_store_bytes(skb, offset, &packet, sizeof(packet), 0);
}

/* The VLAN tag that the kernel keeps beside the frame is put into it, where the other end looks for it. When it is taken from there
 * the next one comes out of the frame into its place: so all are taken, and put back together. False for more than EMBEDDED_TAGS. */
__noinline int embed_vlan_tags(struct __sk_buff *skb, struct ethernet *ethernet)
{
	struct {
		struct ethernet ethernet;
		struct vlan_tag tags[EMBEDDED_TAGS];
	} tagged = {};
	__be16 *type = &tagged.ethernet.type;
	__u32 length = 0;

	if (!ethernet)
		return false;
	for (int tag = 0; tag < EMBEDDED_TAGS && skb->vlan_present; tag++) {
		*type = skb->vlan_proto;
		tagged.tags[tag].tci = bpf_htons(skb->vlan_tci);
		type = &tagged.tags[tag].type;
		length += sizeof(struct vlan_tag);
		if (bpf_skb_vlan_pop(skb) != 0)
			return false;
	}
	if (length == 0)
		return true;
	if (skb->vlan_present || !load(skb, 0, ethernet, sizeof(*ethernet)))
		return false;
	*type = ethernet->type;
	__builtin_memcpy(&tagged.ethernet, ethernet, 2 * ETH_ADDRESS_LENGTH);
	ethernet->type = tagged.ethernet.type;
	return bpf_skb_change_head(skb, length, 0) == 0 &&
	       bpf_skb_store_bytes(skb, 0, &tagged, sizeof(struct ethernet) + length, 0) == 0;
}

static __always_inline bool is_tcp(struct __sk_buff *skb, __be16 ethertype)
{
	__u8 protocol;

	if (ethertype == bpf_htons(ETH_P_IP))
		return load(skb, ETH_HLEN + 9, &protocol, sizeof(protocol)) && protocol == IPPROTO_TCP;
	return load(skb, ETH_HLEN + 6, &protocol, sizeof(protocol)) && protocol == IPPROTO_TCP;
}

/* Makes room at the head for everything up to and including the inner Ethernet header. The kernel notes where the inner
 * headers are, so that devices segment and checksum the inner packet; it does so for IP only, and for a packet that is no
 * other tunnel's already (-EALREADY: one inside the guest, or one that a guest with a veth routes back after it came
 * through a tunnel). Those get plain room, which will do where there is nothing to segment. UDP GSO could be noted, too,
 * but is lost on underlays that keep it across: the receiver can't undo the note (bpf_skb_adjust_room). */
static __always_inline enum encapsulation make_room(struct __sk_buff *skb, const struct tunnel *tunnel,
						    const struct ethernet *ethernet)
{
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
		      BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN);
	__u32 room = tunnel_overhead(tunnel) + ETH_HLEN;

	flags |= tunnel->family == FAMILY_IP4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (is_ip(ethernet->type) && (!is_gso(skb) || is_tcp(skb, ethernet->type)) &&
	    bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags) == 0)
		return ENCAPSULATED;
	if (is_gso(skb))
		return NEEDS_SEGMENTING;
	return bpf_skb_change_head(skb, room, 0) == 0 ? ENCAPSULATED : NOT_ENCAPSULATED;
}

/* Puts the frame into a tunnel packet; `type` is that of its network layer. */
__noinline int encapsulate(struct __sk_buff *skb, const struct tunnel *tunnel, const struct passage *passage,
			   __be16 type)
{
	struct ethernet ethernet;
	__u32 hash, offset;
	int result;
	__u8 class;

	if (!tunnel || !passage)
		return NOT_ENCAPSULATED;
	if (skb->vlan_present && is_gso(skb))
		return NEEDS_SEGMENTING;
	class = outer_traffic_class(traffic_class(skb, network_offset(skb), type));
	hash = bpf_get_hash_recalc(skb);
	if (!load(skb, 0, &ethernet, sizeof(ethernet)) || !embed_vlan_tags(skb, &ethernet))
		return NOT_ENCAPSULATED;
	result = make_room(skb, tunnel, &ethernet);
	if (result != ENCAPSULATED)
		return result;
	offset = ETH_HLEN + outer_ip_length(tunnel);
	if (store_outer_ip(skb, tunnel, class) != 0 || store_geneve(skb, offset, passage, hash) != 0 ||
	    bpf_skb_store_bytes(skb, offset + sizeof(struct geneve_packet), &ethernet, sizeof(ethernet), 0) != 0)
		return NOT_ENCAPSULATED;
	return ENCAPSULATED;
}
