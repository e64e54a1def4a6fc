/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* From the switch to other chassis.
 *
 * What goes by a tunnel device (tunnel_device.h) is handed to it, and that is all. Of what our own program makes a tunnel
 * packet (geneve.h), a unicast IP packet goes straight to the underlay. For everything else there is the relay, a veth pair of the node: what
 * is sent into one end arrives at the program `relay_ingress` at the other, with a mark that says what to do with it. It is
 * there for two things that can't be done to a packet in place: to send a copy through the kernel's neighbour tables
 * (bpf_redirect_neigh takes no clones, and no skb whose protocol is not that of the tunnel packet, which a device
 * finds out anew), and to have a GSO packet cut into its segments (the relay's devices take no GSO). */

#include "counters.h"
#include "deliver.h"
#include "too_big.h"
#include "tunnel_device.h"

/* skb->mark of what goes through the relay. Marks do not come from VMs: a TAP sets none, and one set in another
 * network namespace does not cross the veth. */
enum {
	RELAY_ORDER_MASK = 0xff000000,
	RELAY_SEND = 0x5a000000,    /* a tunnel packet; the rest is the index in map `tunnels` */
	RELAY_SEGMENT = 0x5b000000, /* a frame to switch again, in segments; the rest is the slot that has sent it */
	MAX_TUNNEL_STEPS = 2 * MAX_TUNNELS,
};

static __always_inline int relay(struct __sk_buff *skb, const struct tunnel *tunnel, __u32 order)
{
	skb->mark = order;
	return bpf_redirect(tunnel->relay_ifindex, 0);
}

static __always_inline int send_on_underlay(struct __sk_buff *skb, const struct tunnel *tunnel)
{
	if (skb->mark)
		skb->mark = 0;
	return bpf_redirect_neigh(tunnel->ifindex, NULL, 0, 0);
}

/* Where the port is; NULL when the switch has none with that key. */
static __always_inline const struct port_place *find_place(__u32 datapath_key, __u32 port_key)
{
	struct port_key key = { .datapath_key = datapath_key, .port_key = port_key };

	return bpf_map_lookup_elem(&ports_by_key, &key);
}

/* Sends the frame to a port of another chassis. */
__noinline int send_to_remote(struct __sk_buff *skb, __u32 from_slot, const struct passage *passage,
			      struct ethernet *ethernet)
{
	const struct tunnel *tunnel = passage ? find_tunnel(passage->tunnel) : NULL;

	if (!tunnel || !ethernet)
		return drop(skb, from_slot, DROP_DESTINATION_NOT_PLUGGED);
	if (!fits_tunnel(skb, tunnel, ethernet->type)) {
		count_drop(skb, from_slot, DROP_TUNNEL_TOO_BIG);
		if (!answer_too_big(skb, tunnel, ethernet->type) || !load_ethernet(skb, ethernet))
			return TC_ACT_SHOT;
		return deliver(skb, from_slot, ethernet);
	}
	if (goes_by_device(tunnel)) {
		if (set_passage(skb, tunnel, passage) != 0)
			return drop(skb, from_slot, DROP_TUNNEL_FAILED);
		trace(skb, TRACE_TUNNEL, from_slot, passage->tunnel);
		return bpf_redirect(tunnel->ifindex, 0);
	}
	switch (encapsulate(skb, tunnel, passage, ethernet->type)) {
	case ENCAPSULATED:
		break;
	case NEEDS_SEGMENTING:
		return relay(skb, tunnel, RELAY_SEGMENT | from_slot);
	default:
		return drop(skb, from_slot, DROP_TUNNEL_FAILED);
	}
	trace(skb, TRACE_TUNNEL, from_slot, passage->tunnel);
	if (skb->protocol == (tunnel->family == FAMILY_IP4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		return send_on_underlay(skb, tunnel);
	return relay(skb, tunnel, RELAY_SEND | passage->tunnel);
}

struct remote_flood {
	struct __sk_buff *skb;
	struct passage passage; /* .tunnel is the list entry to follow next, 0 at the head */
	__u32 from_slot;
	__u32 copies;
	bool by_device; /* which tunnels are served in this walk */
	bool skipped;   /* there are others */
	__u32 frame_length; /* with its VLAN tag */
	__u32 family; /* of the tunnel packet that the frame is in; 0 = it is not in one yet */
	__be16 ethertype;
	__u8 class;
	int failure; /* as in struct flood */
};

static __always_inline bool first_tunnel_headers(struct remote_flood *flood, const struct tunnel *tunnel)
{
	struct __sk_buff *skb = flood->skb;
	struct ethernet ethernet;
	__u32 hash = bpf_get_hash_recalc(skb);

	flood->class = outer_traffic_class(traffic_class(skb, network_offset(skb), flood->ethertype));
	if (!load(skb, 0, &ethernet, sizeof(ethernet)) || !embed_vlan_tags(skb, &ethernet) ||
	    bpf_skb_change_head(skb, tunnel_overhead(tunnel) + ETH_HLEN, 0) != 0)
		return false;
	flood->family = tunnel->family;
	return store_geneve(skb, ETH_HLEN + outer_ip_length(tunnel), &flood->passage, hash) == 0;
}

static __always_inline bool copy_to_device(struct remote_flood *flood, const struct tunnel *tunnel)
{
	if (set_passage(flood->skb, tunnel, &flood->passage) != 0)
		return false;
	trace(flood->skb, TRACE_TUNNEL, flood->from_slot, flood->passage.tunnel);
	return send_copy(flood->skb, tunnel->ifindex, 0) == 0;
}

static __always_inline bool copy_to_underlay(struct remote_flood *flood, const struct tunnel *tunnel)
{
	struct __sk_buff *skb = flood->skb;

	if (flood->family == 0 && !first_tunnel_headers(flood, tunnel)) {
		flood->failure = DROP_TUNNEL_FAILED;
		return false;
	}
	/* All tunnels of a type have one family: that of the node's own address. */
	if (tunnel->family != flood->family)
		return false;
	skb->mark = RELAY_SEND | flood->passage.tunnel;
	if (store_outer_ip(skb, tunnel, flood->class) != 0)
		return false;
	trace(skb, TRACE_TUNNEL, flood->from_slot, flood->passage.tunnel);
	return send_copy(skb, tunnel->relay_ifindex, 0) == 0;
}

/* A copy through one tunnel: VERDICT_PASS or the reason why it was not sent. */
static __always_inline int copy_to_tunnel(struct remote_flood *flood)
{
	const struct tunnel *tunnel = find_tunnel(flood->passage.tunnel);
	bool is_sent;

	if (!tunnel)
		return VERDICT_PASS;
	if (goes_by_device(tunnel) != flood->by_device) {
		flood->skipped = true;
		return VERDICT_PASS;
	}
	flood->copies++;
	if (tunnel_overhead(tunnel) + flood->frame_length > tunnel->mtu)
		return DROP_TUNNEL_TOO_BIG;
	is_sent = flood->by_device ? copy_to_device(flood, tunnel) : copy_to_underlay(flood, tunnel);
	return is_sent ? VERDICT_PASS : DROP_TUNNEL_FAILED;
}

/* One step along the list of a group's tunnels, which is walked twice where some go by device and some do not. 1 ends the walk. */
static long remote_flood_step(__u32 index, void *context)
{
	struct remote_flood *flood = context;
	struct remote_member_key key = {
		.datapath_key = flood->passage.datapath_key,
		.group_key = flood->passage.to_key,
		.tunnel = flood->passage.tunnel,
	};
	const struct remote_member *member = bpf_map_lookup_elem(&remote_members, &key);
	int verdict;

	if (!member) {
		if (index > 0)
			flood->failure = DROP_MULTICAST_LIST_CHANGED;
		return 1;
	}
	flood->passage.tunnel = member->next_tunnel;
	if (flood->passage.tunnel == 0) {
		if (!flood->by_device || !flood->skipped)
			return 1;
		flood->by_device = false;
		return 0;
	}
	verdict = copy_to_tunnel(flood);
	if (verdict != VERDICT_PASS && verdict != flood->failure)
		count_drop(flood->skb, flood->from_slot, verdict);
	return flood->failure != VERDICT_PASS;
}

/* The first tunnel of a group; NULL when all its members are local. */
static __always_inline const struct tunnel *first_remote(__u32 datapath_key, __u32 group_key)
{
	struct remote_member_key key = { .datapath_key = datapath_key, .group_key = group_key };
	const struct remote_member *member = bpf_map_lookup_elem(&remote_members, &key);

	return member ? find_tunnel(member->next_tunnel) : NULL;
}
