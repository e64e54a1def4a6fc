/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* tc ingress of the underlay: OVN's tunnel packets for this node are taken out of the stream, everything else passes
 * untouched. Whose packet is it, is it one of OVN's, which ports is it between; then the egress stages, which OVN runs
 * where the receiver is. Likewise tc ingress of the tunnel devices (tunnel_device.h), where the tunnel packet has been
 * taken apart already. And tc ingress of the relay (tunnel.h). */

#include "l2_switch.h"

enum {
	/* linux/bpf.h from 6.3 on */
	ADJUST_ROOM_DECAP_IP4 = 1 << 7,
	ADJUST_ROOM_DECAP_IP6 = 1 << 8,
};

/* The outer headers of what may be a tunnel packet. */
struct outer {
	struct tunnel_endpoint_key source;
	struct tunnel_endpoint_key destination;
	__u32 udp_offset;
	__u32 ip_length; /* what the outer IP packet says it has in all; not to be asked of a GSO packet */
	__u8 class;
};

static __always_inline bool load_outer_ip4(struct __sk_buff *skb, struct outer *outer)
{
	struct iphdr ip;

	if (!load(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 || ip.protocol != IPPROTO_UDP ||
	    (ip.frag_off & bpf_htons(IP4_FRAGMENT_MASK)))
		return false;
	outer->source.family = FAMILY_IP4;
	outer->destination.family = FAMILY_IP4;
	__builtin_memcpy(outer->source.address, &ip.saddr, sizeof(ip.saddr));
	__builtin_memcpy(outer->destination.address, &ip.daddr, sizeof(ip.daddr));
	outer->udp_offset = ETH_HLEN + ip.ihl * 4;
	outer->ip_length = bpf_ntohs(ip.tot_len);
	outer->class = ip.tos;
	return true;
}

static __always_inline bool load_outer_ip6(struct __sk_buff *skb, struct outer *outer)
{
	struct ipv6hdr ip;

	if (!load(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 6 || ip.nexthdr != IPPROTO_UDP)
		return false;
	outer->source.family = FAMILY_IP6;
	outer->destination.family = FAMILY_IP6;
	__builtin_memcpy(outer->source.address, &ip.saddr, sizeof(ip.saddr));
	__builtin_memcpy(outer->destination.address, &ip.daddr, sizeof(ip.daddr));
	outer->udp_offset = ETH_HLEN + sizeof(ip);
	outer->ip_length = sizeof(ip) + bpf_ntohs(ip.payload_len);
	outer->class = ip.priority << 4 | ip.flow_lbl[0] >> 4;
	return true;
}

/* Whether it is a Geneve packet to this node. Behind a VLAN tag is another network than the interface's own, and what one of the
 * node's switches passes to another has not come from the underlay. */
static __always_inline bool is_for_us(struct __sk_buff *skb, struct outer *outer)
{
	struct udphdr udp;
	bool is_udp;

	if (skb->vlan_present || is_for_sharer(skb->mark))
		return false;
	outer->source.type = outer->destination.type = TUNNEL_GENEVE;
	is_udp = skb->protocol == bpf_htons(ETH_P_IP)	? load_outer_ip4(skb, outer)
		 : skb->protocol == bpf_htons(ETH_P_IPV6) ? load_outer_ip6(skb, outer)
							  : false;
	return is_udp && load(skb, outer->udp_offset, &udp, sizeof(udp)) && udp.dest == bpf_htons(GENEVE_PORT) &&
	       has_endpoint(&outer->destination, ENDPOINT_LOCAL);
}

/* VERDICT_PASS or the reason why this is no packet that OVN would send. */
static __always_inline int load_passage(struct __sk_buff *skb, const struct outer *outer, struct passage *passage)
{
	__u32 packet_end = is_gso(skb) ? skb->len : ETH_HLEN + outer->ip_length;
	struct geneve geneve;

	if (packet_end > skb->len ||
	    outer->udp_offset + sizeof(struct geneve_packet) + ETH_HLEN > packet_end ||
	    !load(skb, outer->udp_offset + sizeof(struct udphdr), &geneve, sizeof(geneve)) ||
	    (geneve.version_and_options_length & GENEVE_VERSION_MASK) || (geneve.flags & GENEVE_CONTROL) ||
	    geneve.protocol != bpf_htons(ETH_P_TEB))
		return DROP_TUNNEL_MALFORMED;
	if ((geneve.version_and_options_length & GENEVE_OPTIONS_LENGTH_MASK) != GENEVE_OPTIONS_LENGTH ||
	    !read_ovn_option(&geneve.option, passage))
		return DROP_TUNNEL_OPTION;
	passage->datapath_key = bpf_ntohl(geneve.vni) >> 8;
	return VERDICT_PASS;
}

/* Whether the frame may go between these ports, and where the sender is (0 = elsewhere). OVN's own packets have ingress
 * key 0, under which map `ports_by_key` has the switch itself. */
static __always_inline int check_passage(const struct passage *passage, __u32 *sender)
{
	const struct port_place *place = find_place(passage->datapath_key, 0);

	if (!place)
		return DROP_TUNNEL_UNKNOWN_NETWORK;
	place = find_place(passage->datapath_key, passage->from_key);
	if (!place)
		return DROP_TUNNEL_UNKNOWN_PORT;
	*sender = place->slot;
	if (passage->to_key >= FIRST_MULTICAST_KEY)
		return VERDICT_PASS;
	return passage->to_key != 0 && find_place(passage->datapath_key, passage->to_key) ? VERDICT_PASS
											  : DROP_TUNNEL_UNKNOWN_PORT;
}

/* Removes what is between the outer Ethernet header and the inner network layer. skb->protocol becomes that of the inner
 * packet where it is IP and the kernel can (Linux 6.3); `deliver` knows what to do where it is not. ARP is called IPv4
 * over an IPv6 underlay, as no less than an IPv6 header may be left otherwise. */
static __always_inline bool remove_outer(struct __sk_buff *skb, __u32 length, __be16 type)
{
	__u64 flags = 0;

	if (type != skb->protocol && type == bpf_htons(ETH_P_IPV6))
		flags = ADJUST_ROOM_DECAP_IP6;
	else if (type != skb->protocol && skb->protocol == bpf_htons(ETH_P_IPV6))
		flags = ADJUST_ROOM_DECAP_IP4;
	if (flags && bpf_skb_adjust_room(skb, -(__s32)length, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | flags) == 0)
		return true;
	return bpf_skb_adjust_room(skb, -(__s32)length, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) == 0;
}

/* bpf_skb_adjust_room leaves no less than an IP header, so a shorter frame is made longer first. The kernel lets that be
 * undone unless GRO or a veth has noted where the outer transport header was: then the frame has padding, as short
 * frames have on a wire. */
static __always_inline bool remove_outer_of_short(struct __sk_buff *skb, __u32 length, __be16 type)
{
	return bpf_skb_change_tail(skb, skb->len + sizeof(struct ipv6hdr), 0) == 0 && remove_outer(skb, length, type);
}

/* Takes the frame out of its tunnel packet. */
static __always_inline int decapsulate(struct __sk_buff *skb, const struct outer *outer)
{
	__u32 inner_offset = outer->udp_offset + sizeof(struct geneve_packet);
	struct ethernet ethernet;
	__u32 length;

	/* What is behind the outer IP packet is no part of it. */
	if (!is_gso(skb) && skb->len > ETH_HLEN + outer->ip_length &&
	    bpf_skb_change_tail(skb, ETH_HLEN + outer->ip_length, 0) != 0)
		return DROP_TUNNEL_FAILED;
	if (!load(skb, inner_offset, &ethernet, sizeof(ethernet)))
		return DROP_TUNNEL_MALFORMED;
	length = skb->len - inner_offset;
	if (!remove_outer(skb, inner_offset, ethernet.type) &&
	    (is_gso(skb) || !remove_outer_of_short(skb, inner_offset, ethernet.type)))
		return DROP_TUNNEL_FAILED;
	if (!is_gso(skb) && skb->len > length)
		bpf_skb_change_tail(skb, length, 0);
	if (bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), BPF_F_INVALIDATE_HASH) != 0)
		return DROP_TUNNEL_FAILED;
	return VERDICT_PASS;
}

/* Congestion met in the underlay is told to the packet's receiver; where it can't be, the packet is lost to it, as it
 * would have been without a tunnel (RFC 6040 4.2). */
static __always_inline int take_over_congestion(struct __sk_buff *skb, const struct outer *outer, __be16 type)
{
	__u8 inner;

	if ((outer->class & ECN_MASK) != ECN_CONGESTION || !is_ip(type))
		return VERDICT_PASS;
	inner = traffic_class(skb, network_offset(skb), type) & ECN_MASK;
	if (inner == ECN_CONGESTION)
		return VERDICT_PASS;
	return inner != 0 && network_offset(skb) == ETH_HLEN && bpf_skb_ecn_set_ce(skb) ? VERDICT_PASS
											  : DROP_TUNNEL_CONGESTION;
}

static __always_inline void trace_arrived(struct __sk_buff *skb, const struct passage *passage)
{
	trace(skb, TRACE_FROM_TUNNEL, passage->from_key << 16 | passage->to_key, passage->datapath_key);
}

static __always_inline int deliver_arrived(struct __sk_buff *skb, const struct passage *passage, __u32 sender,
					   const struct ethernet *ethernet)
{
	const struct port_place *place;

	if (passage->to_key < FIRST_MULTICAST_KEY) {
		place = find_place(passage->datapath_key, passage->to_key);
		if (!place || place->slot == 0)
			return drop(skb, 0, DROP_DESTINATION_NOT_PLUGGED);
		return deliver(skb, place->slot, ethernet);
	}
	return flood_arrived(skb, passage->datapath_key, passage->to_key, sender, ethernet);
}

SEC("tc")
int tunnel_ingress(struct __sk_buff *skb)
{
	struct outer outer = {};
	struct passage passage = {};
	struct ethernet ethernet;
	__u32 sender = 0;
	int verdict;

	if (!is_for_us(skb, &outer))
		return TC_ACT_UNSPEC;
	if (!has_endpoint(&outer.source, ENDPOINT_REMOTE))
		return drop(skb, 0, DROP_TUNNEL_UNKNOWN_SOURCE);
	verdict = load_passage(skb, &outer, &passage);
	if (verdict == VERDICT_PASS)
		trace_arrived(skb, &passage);
	if (verdict == VERDICT_PASS)
		verdict = check_passage(&passage, &sender);
	if (verdict == VERDICT_PASS)
		verdict = decapsulate(skb, &outer);
	if (verdict == VERDICT_PASS && !load_ethernet(skb, &ethernet))
		verdict = DROP_FRAME_TOO_SHORT;
	if (verdict == VERDICT_PASS)
		verdict = take_over_congestion(skb, &outer, ethernet.type);
	if (verdict != VERDICT_PASS)
		return drop(skb, 0, verdict);
	return deliver_arrived(skb, &passage, sender, &ethernet);
}

static __always_inline int arrive_by_device(struct __sk_buff *skb, __u8 type)
{
	struct tunnel_endpoints endpoints = {};
	struct passage passage = {};
	struct ethernet ethernet;
	__u32 sender = 0, vni = 0;
	int verdict;

	if (!get_endpoints(skb, type, &endpoints, &vni))
		return drop(skb, 0, DROP_TUNNEL_MALFORMED);
	if (!has_endpoint(&endpoints.source, ENDPOINT_REMOTE) || !has_endpoint(&endpoints.destination, ENDPOINT_LOCAL))
		return drop(skb, 0, DROP_TUNNEL_UNKNOWN_SOURCE);
	if (!get_passage(skb, type, vni, &passage))
		return drop(skb, 0, DROP_TUNNEL_OPTION);
	trace_arrived(skb, &passage);
	verdict = check_passage(&passage, &sender);
	if (verdict == VERDICT_PASS && !load_ethernet(skb, &ethernet))
		verdict = DROP_FRAME_TOO_SHORT;
	if (verdict != VERDICT_PASS)
		return drop(skb, 0, verdict);
	return deliver_arrived(skb, &passage, sender, &ethernet);
}

SEC("tc")
int geneve_ingress(struct __sk_buff *skb)
{
	return arrive_by_device(skb, TUNNEL_GENEVE);
}

SEC("tc")
int vxlan_ingress(struct __sk_buff *skb)
{
	return arrive_by_device(skb, TUNNEL_VXLAN);
}

/* A frame comes again, in segments if it was a GSO packet. Its sender's stages are behind it. */
static __always_inline int switch_again(struct __sk_buff *skb, __u32 slot)
{
	const struct port *port = bpf_map_lookup_elem(&ports, &slot);
	struct ethernet ethernet;

	if (!port || port->datapath_key == 0)
		return drop(skb, 0, DROP_NO_LOGICAL_PORT);
	if (is_gso(skb) || !load_ethernet(skb, &ethernet))
		return drop(skb, slot, DROP_TUNNEL_FAILED);
	return switch_frame(skb, port, slot, &ethernet);
}

SEC("tc")
int relay_ingress(struct __sk_buff *skb)
{
	__u32 order = skb->mark & RELAY_ORDER_MASK, index = skb->mark & ~RELAY_ORDER_MASK;
	const struct tunnel *tunnel;

	skb->mark = 0;
	if (order == RELAY_SEGMENT)
		return switch_again(skb, index);
	tunnel = order == RELAY_SEND ? find_tunnel(index) : NULL;
	/* Everything else is what the host says to an interface of its own, and goes nowhere. */
	return tunnel ? bpf_redirect_neigh(tunnel->ifindex, NULL, 0, 0) : TC_ACT_SHOT;
}
