// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* tc ingress of a VIF: everything that a VM sends enters here. Identify the port, activation, sanity, port security,
 * learn its MAC, switch.
 *
 * Functions that are not static are global: the verifier goes through each once, by itself, whoever calls it. So a pointer may be
 * NULL there as far as it knows, and what comes back may be any number. Of a pointer that a global function was given Linux 6.1
 * takes no map keys: what looks up or writes by one copies it first, or is static. */

#include "arrival.h"
#include "l2_switch.h"
#include "localnet.h"

/* Where the slot of the port that has sent the frame is, NULL when there is none: the nested port with the frame's VLAN, else the
 * port whose interface it is, to which a foreign tag belongs as it does in OVN. */
static __always_inline const __u32 *find_sender(struct __sk_buff *skb)
{
	struct interface_key key = { .ifindex = skb->ifindex, .vlan_id = outer_vlan_id(skb) };
	const __u32 *slot = bpf_map_lookup_elem(&ports_by_interface, &key);

	if (!slot && key.vlan_id != 0) {
		key.vlan_id = 0;
		slot = bpf_map_lookup_elem(&ports_by_interface, &key);
	}
	return slot;
}

SEC("tc")
int vif_ingress(struct __sk_buff *skb)
{
	const __u32 *slot_of_sender = find_sender(skb);
	struct ethernet ethernet;
	const struct port *port;
	__u32 slot;
	int verdict;

	if (!slot_of_sender)
		return drop(skb, 0, DROP_NO_LOGICAL_PORT);
	slot = *slot_of_sender;
	port = bpf_map_lookup_elem(&ports, &slot);
	if (!port || port->datapath_key == 0)
		return drop(skb, 0, DROP_NO_LOGICAL_PORT);
	if (port->vlan_id != 0 && bpf_skb_vlan_pop(skb) != 0)
		return drop(skb, slot, DROP_DELIVERY_FAILED);
	trace(skb, TRACE_FROM_PORT, slot, port->port_key);
	if (!is_flood_mark(skb->mark))
		count_received(skb, slot);

	if (!load_ethernet(skb, &ethernet))
		return drop(skb, slot, DROP_FRAME_TOO_SHORT);
	if (awaits_activation(port) && !activate(skb, port, slot, &ethernet))
		return drop(skb, slot, DROP_AWAITS_ACTIVATION);
	if (!(port->flags & PORT_ENABLED))
		return drop(skb, slot, DROP_PORT_DISABLED);
	if (!(port->flags & PORT_VLAN_PASSTHRU) && is_vlan_tagged(skb))
		return drop(skb, slot, DROP_VLAN_TAGGED);
	if (is_multicast(ethernet.source))
		return drop(skb, slot, DROP_MULTICAST_SOURCE);
	if (port->flags & PORT_SECURITY) {
		verdict = check_source(skb, slot, port->flags, &ethernet);
		if (verdict != VERDICT_PASS)
			return drop(skb, slot, verdict);
		trace(skb, TRACE_PORT_SECURITY, slot, 0);
	}
	if ((port->flags & PORT_LEARNS) && learn_source(port, slot, ethernet.source))
		trace(skb, TRACE_LEARN, slot, port->port_key);
	return switch_frame(skb, port, slot, &ethernet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
