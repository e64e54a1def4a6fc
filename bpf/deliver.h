/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The last step to a local port: its egress stages, then its device. */

#include "activation.h"
#include "counters.h"
#include "port_security.h"

enum {
	/* linux/if_packet.h PACKET_HOST */
	PACKET_TYPE_HOST = 0,
	/* Of skb->mark while a copy for another switch is on its way to `uplink_ingress`: the slot of that switch's localnet port, and
	 * how many have not had theirs, that one included. What comes from a wire has no mark. */
	SHARER_MARK = 0x6b000000,
	SHARER_MARK_MASK = 0xff000000,
	SHARER_MARK_COUNT_SHIFT = 20,
	SHARER_MARK_SLOT = (1 << SHARER_MARK_COUNT_SHIFT) - 1,
};

static __always_inline bool is_for_sharer(__u32 mark)
{
	return (mark & SHARER_MARK_MASK) == SHARER_MARK;
}

/* A copy of what leaves or comes by the localnet port in `slot` arrives at its uplink once more for the switch whose port is the
 * next there, and so on to `count` of them. False when it can't be sent. */
__noinline int pass_to_sharers(struct __sk_buff *skb, __u32 slot, __u32 count)
{
	const struct port *port = bpf_map_lookup_elem(&ports, &slot);
	__u32 mark = skb->mark;
	bool is_sent;

	if (!port || count >= MAX_LOCALNETS_OF_PLACE)
		return false;
	skb->mark = SHARER_MARK | count << SHARER_MARK_COUNT_SHIFT | (port->next_sharer & SHARER_MARK_SLOT);
	is_sent = send_copy(skb, port->ifindex, BPF_F_INGRESS) == 0;
	skb->mark = mark;
	return is_sent;
}

/* The port's interface has got the frame. One that came that way itself goes no further: two switches that are
 * connected twice would send it round for ever. */
static __always_inline void share_sent(struct __sk_buff *skb, __u32 slot, const struct port *to)
{
	if (to->sharers != 0 && !is_for_sharer(skb->mark) && !pass_to_sharers(skb, slot, to->sharers))
		count_drop(skb, slot, DROP_DELIVERY_FAILED);
}

/* Egress stages of the port in `slot`: VERDICT_PASS or the reason to drop. */
static __always_inline int check_egress(struct __sk_buff *skb, __u32 slot, const struct port *to,
					const struct ethernet *ethernet)
{
	int verdict;

	if (!(to->flags & PORT_ENABLED))
		return DROP_EGRESS_PORT_DISABLED;
	if (awaits_activation(to))
		return DROP_EGRESS_AWAITS_ACTIVATION;
	if (!(to->flags & PORT_SECURITY))
		return VERDICT_PASS;
	verdict = check_destination(skb, slot, ethernet);
	if (verdict == VERDICT_PASS)
		trace(skb, TRACE_EGRESS_PORT_SECURITY, slot, 0);
	return verdict;
}

/* What the device of a nested port, or of a localnet port with a VLAN, gets is tagged. False when there is no memory for it. */
static __always_inline bool push_port_tag(struct __sk_buff *skb, const struct port *to)
{
	__be16 type = to->flags & PORT_SERVICE_TAG ? bpf_htons(ETH_P_8021AD) : bpf_htons(ETH_P_8021Q);

	return to->vlan_id == 0 || bpf_skb_vlan_push(skb, type, to->vlan_id) == 0;
}

/* Undoes push_port_tag. */
static __always_inline bool pop_port_tag(struct __sk_buff *skb, const struct port *to)
{
	return to->vlan_id == 0 || bpf_skb_vlan_pop(skb) == 0;
}

/* Hands the packet to one local port. */
__noinline int deliver(struct __sk_buff *skb, __u32 slot, const struct ethernet *ethernet)
{
	const struct port *to = bpf_map_lookup_elem(&ports, &slot);
	int verdict;

	if (!ethernet || !to || to->ifindex == 0)
		return drop(skb, slot, DROP_DELIVERY_FAILED);
	verdict = check_egress(skb, slot, to, ethernet);
	if (verdict != VERDICT_PASS)
		return drop(skb, slot, verdict);
	if (!push_port_tag(skb, to))
		return drop(skb, slot, DROP_DELIVERY_FAILED);
	trace(skb, TRACE_DELIVER, slot, to->ifindex);
	count_sent(skb, slot);
	/* A device finds out anew of what protocol a frame is, which the kernel does not know of one from a tunnel. */
	if (!(to->flags & PORT_REDIRECT_PEER) || skb->protocol != ethernet->type) {
		share_sent(skb, slot, to);
		return bpf_redirect(to->ifindex, 0);
	}
	/* The guest receives the skb as it is: what the sender's side of the kernel noted on it is not the guest's. */
	if (skb->mark)
		skb->mark = 0;
	bpf_skb_change_type(skb, PACKET_TYPE_HOST);
	return bpf_redirect_peer(to->ifindex, 0);
}
