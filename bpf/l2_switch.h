/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* OVN's logical switch: from the destination MAC to a port, or to the members of a multicast group. */

#include "arp_nd_responder.h"
#include "deliver.h"
#include "learn.h"
#include "tunnel.h"

enum {
	/* Members of one group that one packet is copied to: more than a node has slots for, so nobody is left out. */
	MAX_COPIES = 1 << 20,
};

struct flood {
	struct __sk_buff *skb;
	const struct ethernet *ethernet;
	__u32 datapath_key;
	__u32 group_key;
	__u32 sender;
	__u32 slot;   /* of the list entry to follow next, 0 at the head */
	__u32 copies; /* members reached, whether or not their egress stages let the packet through */
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
	if (bpf_clone_redirect(skb, to->ifindex, 0) != 0)
		verdict = DROP_DELIVERY_FAILED;
	*intact = pop_port_tag(skb, to);
	return verdict;
}

/* One step along the list: a copy to the next member. 1 ends the walk. */
static long flood_step(__u32 index, void *context)
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

	if (!member) {
		if (index > 0)
			flood->failure = DROP_MULTICAST_LIST_CHANGED;
		return 1;
	}
	slot = member->next_slot;
	if (slot == 0)
		return 1;
	flood->slot = slot;
	if (slot == flood->sender)
		return 0;
	flood->copies++;
	to = bpf_map_lookup_elem(&ports, &slot);
	if (!to)
		return 0;
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

/* Copies the packet to every local member of the group but the sender. `*copies` counts them. VERDICT_PASS, or the reason
 * for which the rest did not get it. */
static __always_inline int flood_local(struct __sk_buff *skb, __u32 datapath_key, __u32 group_key, __u32 sender,
				       const struct ethernet *ethernet, __u32 *copies)
{
	struct flood flood = {
		.skb = skb,
		.ethernet = ethernet,
		.datapath_key = datapath_key,
		.group_key = group_key,
		.sender = sender,
		.failure = VERDICT_PASS,
	};

	bpf_loop(MAX_COPIES, flood_step, &flood, 0);
	*copies = flood.copies;
	return flood.failure;
}

/* One copy to each other chassis that hosts members: it is for them to copy it further. What is left of the packet
 * is of no use afterwards. */
static __always_inline int flood_remote(struct __sk_buff *skb, const struct port *from, __u32 from_slot, __u32 group_key,
					const struct ethernet *ethernet, __u32 *copies)
{
	struct remote_flood flood = {
		.skb = skb,
		.passage = { .datapath_key = from->datapath_key, .from_key = from->port_key, .to_key = group_key },
		.from_slot = from_slot,
		.type = ethernet->type,
		.failure = VERDICT_PASS,
	};

	bpf_loop(MAX_TUNNELS_PER_GROUP, remote_flood_step, &flood, 0);
	*copies += flood.copies;
	return flood.failure;
}

/* Copies the packet to every member of the group but the sender; the original ends here. */
static __always_inline int flood(struct __sk_buff *skb, const struct port *from, __u32 from_slot, __u32 group_key,
				 enum drop_reason nobody, const struct ethernet *ethernet)
{
	const struct tunnel *tunnel = first_remote(from->datapath_key, group_key);
	__u32 copies = 0;
	int failure;

	if (tunnel && is_gso(skb))
		return relay(skb, tunnel, RELAY_SEGMENT | from_slot);
	failure = flood_local(skb, from->datapath_key, group_key, from_slot, ethernet, &copies);
	if (failure == VERDICT_PASS && tunnel)
		failure = flood_remote(skb, from, from_slot, group_key, ethernet, &copies);
	if (failure != VERDICT_PASS)
		return drop(skb, from_slot, failure);
	if (copies == 0)
		return drop(skb, from_slot, nobody);
	return TC_ACT_SHOT;
}

static __always_inline int switch_multicast(struct __sk_buff *skb, const struct port *from, __u32 from_slot,
					    struct ethernet *ethernet)
{
	enum answer answer = answer_neighbour_query(skb, from, ethernet);

	if (answer == NOT_ANSWERED)
		return flood(skb, from, from_slot, MULTICAST_FLOOD, DROP_NO_RECEIVER, ethernet);
	if (answer == ANSWER_FAILED || !load_ethernet(skb, ethernet))
		return drop(skb, from_slot, DROP_DELIVERY_FAILED);
	return deliver(skb, from_slot, ethernet);
}

static __always_inline int switch_frame(struct __sk_buff *skb, const struct port *from, __u32 from_slot,
					struct ethernet *ethernet)
{
	struct mac_key key = { .datapath_key = from->datapath_key };
	const struct destination *to;
	struct destination learned;

	if (is_multicast(ethernet->destination))
		return switch_multicast(skb, from, from_slot, ethernet);
	__builtin_memcpy(key.mac, ethernet->destination, ETH_ADDRESS_LENGTH);
	to = bpf_map_lookup_elem(&destinations, &key);
	if (!to && find_learned(&key, &learned))
		to = &learned;
	if (!to)
		return flood(skb, from, from_slot, MULTICAST_UNKNOWN, DROP_UNKNOWN_DESTINATION, ethernet);
	if (to->port_key == from->port_key)
		return drop(skb, from_slot, DROP_HAIRPIN);
	if (to->slot == 0)
		return send_to_remote(skb, from, from_slot, to->port_key, ethernet);
	return deliver(skb, to->slot, ethernet);
}
