/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* tc ingress of an uplink: what comes from a physical network for the switches whose localnet ports are on it. The interface
 * stays the host's: what is addressed to the host, or to nobody here, passes untouched; what is for everybody goes to the
 * switch in copies. Where several switches share an uplink and a VLAN, the program runs once for each, with copies that it sends
 * to itself; so does what one of them sends there (deliver.h). As in OVN nothing goes back to where it came from, nothing from here into a tunnel, and queries are
 * not answered: whoever is on the physical network asks the owner. */

#include "l2_switch.h"

/* A tag that was taken off. */
struct outer_tag {
	__be16 type; /* 0 = there was none */
	__u16 tci;
};

/* The slot of the localnet port that has the frame's VLAN, or of that without one; of several the one that is asked first. */
static __always_inline const __u32 *find_localnet_slot(struct __sk_buff *skb, __u16 vlan_id)
{
	struct interface_key key = { .ifindex = skb->ifindex, .vlan_id = vlan_id };
	const __u32 *slot = bpf_map_lookup_elem(&ports_by_interface, &key);

	if (!slot && vlan_id != 0) {
		key.vlan_id = 0;
		slot = bpf_map_lookup_elem(&ports_by_interface, &key);
	}
	return slot;
}

/* The localnet port of the frame's VLAN; one without a VLAN takes frames without a tag or with a priority only, and any
 * tag where its switch lets tags pass. NULL when there is none. Other switches' ports there get a copy first. */
static __always_inline const struct port *find_localnet(struct __sk_buff *skb, __u32 *slot)
{
	__u16 vlan_id = outer_vlan_id(skb);
	bool is_copy = is_for_sharer(skb->mark);
	__u32 left = 0;
	const __u32 *found;
	const struct port *port;

	if (is_copy) {
		*slot = skb->mark & SHARER_MARK_SLOT;
		left = (skb->mark & ~SHARER_MARK_MASK) >> SHARER_MARK_COUNT_SHIFT;
	} else {
		found = find_localnet_slot(skb, vlan_id);
		if (!found)
			return NULL;
		*slot = *found;
	}
	port = bpf_map_lookup_elem(&ports, slot);
	if (!port || !(port->flags & PORT_LOCALNET) || port->ifindex != skb->ifindex)
		return NULL;
	left = is_copy ? left - 1 : port->sharers;
	if (left != 0 && !pass_to_sharers(skb, *slot, left))
		count_drop(skb, *slot, DROP_DELIVERY_FAILED);
	if (port->vlan_id != vlan_id && (port->vlan_id != 0 || !(port->flags & PORT_VLAN_PASSTHRU)))
		return NULL;
	return port;
}

static __always_inline bool take_tag_off(struct __sk_buff *skb, const struct port *from, struct outer_tag *tag)
{
	struct vlan_tag inner;

	if (!is_vlan_tagged(skb) || (from->vlan_id == 0 && (from->flags & PORT_VLAN_PASSTHRU)))
		return true;
	if (skb->vlan_present) {
		tag->type = skb->vlan_proto;
		tag->tci = skb->vlan_tci;
	} else if (load(skb, ETH_HLEN, &inner, sizeof(inner))) {
		tag->type = skb->protocol;
		tag->tci = bpf_ntohs(inner.tci);
	}
	return bpf_skb_vlan_pop(skb) == 0;
}

static __always_inline bool put_tag_back(struct __sk_buff *skb, const struct outer_tag *tag)
{
	return tag->type == 0 || bpf_skb_vlan_push(skb, tag->type, tag->tci) == 0;
}

/* The slot of the port if it is on this node, also if it is elsewhere, too (live migration); else 0. */
static __always_inline __u32 local_slot(__u32 datapath_key, const struct destination *to)
{
	const struct port_place *place;

	if (to->slot != 0)
		return to->slot;
	place = find_place(datapath_key, to->port_key);
	return place ? place->slot : 0;
}

/* Whom the frame concerns on this node. */
struct receivers {
	__u32 slot;      /* the one who has the MAC; 0 = a group */
	__u32 group_key; /* 0 and no slot = nobody */
};

static __always_inline struct receivers find_receivers(const struct port *from, const __u8 *mac)
{
	struct mac_key key = { .datapath_key = from->datapath_key };
	struct receivers receivers = {};
	const struct destination *to;
	struct destination learned;

	if (is_multicast(mac)) {
		receivers.group_key = MULTICAST_FLOOD;
		return receivers;
	}
	__builtin_memcpy(key.mac, mac, ETH_ADDRESS_LENGTH);
	to = bpf_map_lookup_elem(&destinations, &key);
	if (!to && find_learned(&key, &learned))
		to = &learned;
	if (!to)
		receivers.group_key = MULTICAST_UNKNOWN;
	else if (to->port_key != from->port_key)
		receivers.slot = local_slot(from->datapath_key, to);
	return receivers;
}

/* The switch's ingress stages for a localnet port, which has no port security: VERDICT_PASS or the reason to drop. */
static __always_inline int check_localnet(struct __sk_buff *skb, const struct port *from,
					  const struct ethernet *ethernet)
{
	if (!(from->flags & PORT_ENABLED))
		return DROP_PORT_DISABLED;
	if (!(from->flags & PORT_VLAN_PASSTHRU) && is_vlan_tagged(skb))
		return DROP_VLAN_TAGGED;
	return is_multicast(ethernet->source) ? DROP_MULTICAST_SOURCE : VERDICT_PASS;
}

/* Copies to the group's members on this node: VERDICT_PASS or the reason why not all got theirs. */
static __always_inline int copy_to_members(struct __sk_buff *skb, const struct port *from, __u32 slot, __u32 group_key,
					   const struct ethernet *ethernet)
{
	struct flood flood = {
		.skb = skb,
		.ethernet = ethernet,
		.datapath_key = from->datapath_key,
		.group_key = group_key,
		.sender = slot,
		.failure = VERDICT_PASS,
	};

	bpf_loop(ALL_MEMBERS, flood_step, &flood, 0);
	return flood.failure;
}

/* But for a copy for another switch: the host has had the frame itself, or its own node has sent it. */
static __always_inline int leave_to_host(struct __sk_buff *skb, __u32 slot)
{
	if (is_for_sharer(skb->mark))
		return TC_ACT_SHOT;
	trace(skb, TRACE_TO_HOST, slot, 0);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	struct receivers receivers;
	struct outer_tag tag = {};
	struct ethernet ethernet;
	const struct port *from;
	__u32 slot = 0;
	int verdict;

	/* The host's own MAC: no port of a switch has it. */
	if (skb->pkt_type == PACKET_TYPE_HOST)
		return leave_to_host(skb, 0);
	from = find_localnet(skb, &slot);
	if (!from || !load_ethernet(skb, &ethernet))
		return leave_to_host(skb, 0);
	receivers = find_receivers(from, ethernet.destination);
	if (receivers.slot == 0 && receivers.group_key == 0)
		return leave_to_host(skb, slot);
	if (!take_tag_off(skb, from, &tag) || !load_ethernet(skb, &ethernet))
		return drop(skb, slot, DROP_DELIVERY_FAILED);
	trace(skb, TRACE_FROM_PORT, slot, from->port_key);
	count_received(skb, slot);

	verdict = check_localnet(skb, from, &ethernet);
	if (verdict == VERDICT_PASS && (from->flags & PORT_LEARNS) && learn_source(from, slot, ethernet.source))
		trace(skb, TRACE_LEARN, slot, from->port_key);
	if (receivers.slot != 0 && verdict == VERDICT_PASS) {
		trace(skb, TRACE_UNICAST, receivers.slot, 0);
		return deliver(skb, receivers.slot, &ethernet);
	}
	if (receivers.slot != 0)
		return drop(skb, slot, verdict);
	if (verdict == VERDICT_PASS)
		trace(skb, TRACE_FLOOD, slot, receivers.group_key);
	if (verdict == VERDICT_PASS)
		verdict = copy_to_members(skb, from, slot, receivers.group_key, &ethernet);
	if (verdict != VERDICT_PASS)
		count_drop(skb, slot, verdict);
	return put_tag_back(skb, &tag) ? leave_to_host(skb, slot) : drop(skb, slot, DROP_DELIVERY_FAILED);
}
