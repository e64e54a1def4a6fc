// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* tc ingress of a VIF: everything that a VM sends enters here. Identify the port, sanity, port security, learn
 * its MAC, switch. */

#include "l2_switch.h"

SEC("tc")
int vif_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const __u32 *slot_of_interface = bpf_map_lookup_elem(&ports_by_ifindex, &ifindex);
	struct ethernet ethernet;
	const struct port *port;
	__u32 slot;
	int verdict;

	if (!slot_of_interface)
		return drop(skb, 0, DROP_NO_LOGICAL_PORT);
	slot = *slot_of_interface;
	port = bpf_map_lookup_elem(&ports, &slot);
	if (!port || port->datapath_key == 0)
		return drop(skb, 0, DROP_NO_LOGICAL_PORT);
	count_received(skb, slot);

	if (!load_ethernet(skb, &ethernet))
		return drop(skb, slot, DROP_FRAME_TOO_SHORT);
	if (!(port->flags & PORT_ENABLED))
		return drop(skb, slot, DROP_PORT_DISABLED);
	if (is_vlan_tagged(skb, &ethernet))
		return drop(skb, slot, DROP_VLAN_TAGGED);
	if (is_multicast(ethernet.source))
		return drop(skb, slot, DROP_MULTICAST_SOURCE);
	if (port->flags & PORT_SECURITY) {
		verdict = check_source(skb, slot, port->flags, &ethernet);
		if (verdict != VERDICT_PASS)
			return drop(skb, slot, verdict);
	}
	if (port->flags & PORT_LEARNS)
		learn_source(port, slot, ethernet.source);
	return switch_frame(skb, port, slot, &ethernet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
