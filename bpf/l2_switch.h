/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* OVN's logical switch: from the destination MAC to a port, or to the members of a multicast group. */

#include "arp_nd_responder.h"
#include "deliver.h"
#include "learn.h"
#include "tunnel.h"

enum {
	/* Members of a group that are served in one go. Copies to veths wait in a queue of the CPU (net.core.netdev_max_backlog, 1,000
	 * by default) until the program has ended; what comes behind them goes on when they have been taken out. */
	MEMBERS_PER_RUN = 512,
	/* What has come through a tunnel can't come again: all members in one go, more than a node has slots for. */
	ALL_MEMBERS = 1 << 20,
	/* Of skb->mark while such a frame is on its way back to the program: what it is, which group, and behind which slot to go
	 * on. Frames of a VM or from another namespace have no mark; a wrong one would only skip members. */
	FLOOD_MARK = 0x37 << 24,
	FLOOD_MARK_MASK = 0x7f << 24,
	FLOOD_MARK_UNKNOWN = 1 << 23,
	FLOOD_MARK_SLOT = FLOOD_MARK_UNKNOWN - 1,
};

struct flood {
	struct __sk_buff *skb;
	const struct ethernet *ethernet;
	__u32 datapath_key;
	__u32 group_key;
	__u32 sender;
	__u32 slot;   /* of the list entry to follow next, 0 at the head */
	__u32 copies; /* members reached, whether or not their egress stages let the packet through */
	bool ended;   /* there is nobody left to reach */
	__u32 sender_flags; /* enum port_flags; not a bool, of which the verifier would look at both values through all of it */
	int failure;  /* the enum drop_reason that ended the walk before the list's end, else VERDICT_PASS */
};

/* A copy of the packet to one member: VERDICT_PASS or the reason why it did not get it. `*intact` becomes false when
 * the packet is not as it was before. */
static __always_inline int copy_to(struct __sk_buff *skb, __u32 slot, const struct port *to,
				   const struct ethernet *ethernet, bool *intact)
{
	int verdict = check_egress(skb, slot, to, ethernet);

	if (verdict != VERDICT_PASS)
		return verdict;
	if (!push_port_tag(skb, to))
		return DROP_DELIVERY_FAILED;
	trace(skb, TRACE_DELIVER, slot, to->ifindex);
	if (send_copy(skb, to->ifindex, 0) != 0)
		verdict = DROP_DELIVERY_FAILED;
	share_sent(skb, slot, to);
	*intact = pop_port_tag(skb, to);
	return verdict;
}

/* One step along the list: a copy to the next member. 1 ends the walk. */
static long flood_step(__u32 index __attribute__((unused)), void *context)
{
	struct flood *flood = context;
	struct member_key key = {
		.datapath_key = flood->datapath_key,
		.group_key = flood->group_key,
		.slot = flood->slot,
	};
	const struct member *member = bpf_map_lookup_elem(&multicast_members, &key);
	const struct port *to;
	bool intact = true;
	__u32 slot;
	int verdict;

	if (!member && flood->slot != 0)
		flood->failure = DROP_MULTICAST_LIST_CHANGED;
	slot = member ? member->next_slot : 0;
	if (slot == 0) {
		flood->ended = true;
		return 1;
	}
	flood->slot = slot;
	if (slot == flood->sender)
		return 0;
	to = bpf_map_lookup_elem(&ports, &slot);
	if (!to || ((flood->sender_flags & PORT_LOCALPORT) && (to->flags & PORT_LOCALNET)))
		return 0;
	flood->copies++;
	verdict = copy_to(flood->skb, slot, to, flood->ethernet, &intact);
	if (verdict == VERDICT_PASS)
		count_sent(flood->skb, slot);
	else
		count_drop(flood->skb, slot, verdict);
	if (intact)
		return 0;
	flood->failure = DROP_DELIVERY_FAILED;
	return 1;
}

/* Sends the packet to the program once more, behind the copies that wait, to go on with the members behind `slot`. */
static __always_inline int flood_later(struct __sk_buff *skb, const struct port *from, __u32 from_slot, __u32 group_key,
				       __u32 slot)
{
	if (!push_port_tag(skb, from))
		return drop(skb, from_slot, DROP_DELIVERY_FAILED);
	skb->mark = FLOOD_MARK | (group_key == MULTICAST_UNKNOWN ? FLOOD_MARK_UNKNOWN : 0) | (slot & FLOOD_MARK_SLOT);
	trace(skb, TRACE_AGAIN, from_slot, 0);
	if (send_copy(skb, from->ifindex, BPF_F_INGRESS) != 0)
		return drop(skb, from_slot, DROP_DELIVERY_FAILED);
	return TC_ACT_SHOT;
}

/* One copy to each other chassis that hosts members: it is for them to copy it further. What is left of the packet
 * is of no use afterwards. VERDICT_PASS, or the reason for which the rest did not get it. */
__noinline int flood_remote(struct __sk_buff *skb, __u32 from_slot, const struct passage *passage,
			    const struct ethernet *ethernet, __u32 *copies)
{
	struct remote_flood flood = {
		.skb = skb,
		.from_slot = from_slot,
		/* Then those for which a tunnel packet is made here: of that the devices can make nothing. */
		.by_device = true,
		.frame_length = skb->len + (skb->vlan_present ? sizeof(struct vlan_tag) : 0),
		.failure = VERDICT_PASS,
	};

	if (!passage || !ethernet || !copies)
		return DROP_TUNNEL_FAILED;
	flood.passage = *passage;
	flood.ethertype = ethernet->type;
	bpf_loop(MAX_TUNNEL_STEPS, remote_flood_step, &flood, 0);
	*copies += flood.copies;
	return flood.failure;
}

/* Copies the packet to every member of the group but the sender, to the local ones from the one behind slot `behind` on,
 * then to other chassis; the original ends here. */
__noinline int flood(struct __sk_buff *skb, __u32 from_slot, __u32 group_key, __u32 behind,
		    const struct ethernet *ethernet)
{
	const struct port *from = bpf_map_lookup_elem(&ports, &from_slot);
	struct passage passage = { .to_key = group_key };
	struct flood flood = {
		.skb = skb,
		.ethernet = ethernet,
		.group_key = group_key,
		.sender = from_slot,
		.slot = behind,
		.failure = VERDICT_PASS,
	};
	const struct tunnel *tunnel;

	if (!from || !ethernet)
		return drop(skb, from_slot, DROP_NO_LOGICAL_PORT);
	flood.datapath_key = from->datapath_key;
	flood.sender_flags = from->flags;
	tunnel = first_remote(from->datapath_key, group_key);
	if (from->flags & PORT_LOCALPORT)
		tunnel = NULL;
	trace(skb, TRACE_FLOOD, from_slot, group_key);
	if (tunnel && is_gso(skb))
		return behind == 0 ? relay(skb, tunnel, RELAY_SEGMENT | from_slot) : drop(skb, from_slot, DROP_TUNNEL_FAILED);
	bpf_loop(MEMBERS_PER_RUN, flood_step, &flood, 0);
	if (flood.failure == VERDICT_PASS && !flood.ended)
		return flood_later(skb, from, from_slot, group_key, flood.slot);
	if (flood.failure == VERDICT_PASS && tunnel) {
		passage.datapath_key = from->datapath_key;
		passage.from_key = from->port_key;
		flood.failure = flood_remote(skb, from_slot, &passage, ethernet, &flood.copies);
	}
	if (flood.failure != VERDICT_PASS)
		return drop(skb, from_slot, flood.failure);
	if (flood.copies == 0 && behind == 0)
		return drop(skb, from_slot, group_key == MULTICAST_UNKNOWN ? DROP_UNKNOWN_DESTINATION : DROP_NO_RECEIVER);
	return TC_ACT_SHOT;
}

/* Copies a packet that came through a tunnel to every local member of the group but the sender. */
static __always_inline int flood_arrived(struct __sk_buff *skb, __u32 datapath_key, __u32 group_key, __u32 sender,
					 const struct ethernet *ethernet)
{
	struct flood flood = {
		.skb = skb,
		.ethernet = ethernet,
		.datapath_key = datapath_key,
		.group_key = group_key,
		.sender = sender,
		.failure = VERDICT_PASS,
	};

	bpf_loop(ALL_MEMBERS, flood_step, &flood, 0);
	if (flood.failure != VERDICT_PASS)
		return drop(skb, 0, flood.failure);
	return flood.copies == 0 ? drop(skb, 0, DROP_NO_RECEIVER) : TC_ACT_SHOT;
}

static __always_inline bool is_flood_mark(__u32 mark)
{
	return (mark & FLOOD_MARK_MASK) == FLOOD_MARK && (mark & FLOOD_MARK_SLOT) != 0;
}

/* Whether what goes to this slot, or with 0 to another chassis, is gone from the node. */
static __always_inline bool leaves_node(__u32 slot)
{
	const struct port *to = slot == 0 ? NULL : bpf_map_lookup_elem(&ports, &slot);

	return !to || (to->flags & PORT_LOCALNET);
}

/* One call of flood for all cases: the verifier goes through it once for each. */
static __always_inline int switch_frame(struct __sk_buff *skb, const struct port *from, __u32 from_slot,
					struct ethernet *ethernet)
{
	struct passage passage = { .datapath_key = from->datapath_key, .from_key = from->port_key };
	struct mac_key key = { .datapath_key = from->datapath_key };
	__u32 group_key = MULTICAST_FLOOD;
	const struct port_place *place;
	const struct destination *to;
	struct destination learned;
	__u32 mark = skb->mark;
	enum answer answer;
	__u32 behind = 0;
	__u32 to_slot;

	if (is_flood_mark(mark)) {
		if (mark & FLOOD_MARK_UNKNOWN)
			group_key = MULTICAST_UNKNOWN;
		behind = mark & FLOOD_MARK_SLOT;
		skb->mark = 0;
	} else if (is_multicast(ethernet->destination)) {
		answer = answer_neighbour_query(skb, from, ethernet);
		if (answer != NOT_ANSWERED) {
			trace(skb, TRACE_ANSWER, from_slot, 0);
			if (answer == ANSWER_FAILED || !load_ethernet(skb, ethernet))
				return drop(skb, from_slot, DROP_DELIVERY_FAILED);
			return deliver(skb, from_slot, ethernet);
		}
	} else {
		__builtin_memcpy(key.mac, ethernet->destination, ETH_ADDRESS_LENGTH);
		to = bpf_map_lookup_elem(&destinations, &key);
		if (!to && find_learned(&key, &learned))
			to = &learned;
		if (to)
			trace(skb, TRACE_UNICAST, to->slot, to->port_key);
		if (to && to->port_key == from->port_key)
			return drop(skb, from_slot, DROP_HAIRPIN);
		place = to && to->slot == 0 ? find_place(from->datapath_key, to->port_key) : NULL;
		if (to && !(place && place->tunnel == SEVERAL_PLACES)) {
			to_slot = to->slot != 0 ? to->slot : from->localnet_slot;
			if ((from->flags & PORT_LOCALPORT) && leaves_node(to_slot))
				return drop(skb, from_slot, DROP_LOCALPORT_LEAVES_NODE);
			if (to_slot != 0)
				return deliver(skb, to_slot, ethernet);
			passage.to_key = to->port_key;
			if (place)
				passage.tunnel = place->tunnel + (from->flags >> PORT_SOURCE_SHIFT) * MAX_TUNNELS;
			return send_to_remote(skb, from_slot, &passage, ethernet);
		}
		group_key = to ? to->port_key : MULTICAST_UNKNOWN;
	}
	return flood(skb, from_slot, group_key, behind, ethernet);
}
