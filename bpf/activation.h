/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Live migration: on an additional chassis a port may be blocked, both ways, until the VM shows that it runs there now
 * (ovn-nb(5) Logical_Switch_Port.options:activation-strategy). The program lifts the block itself: not a packet waits for
 * a daemon. */

#include "maps.h"
#include "parse.h"

enum {
	PORT_AWAITS = PORT_AWAITS_RARP | PORT_AWAITS_GARP | PORT_AWAITS_NA,
};

static __always_inline bool awaits_activation(const struct port *port)
{
	struct port_key key = { .datapath_key = port->datapath_key, .port_key = port->port_key };
	const __u32 *ifindex;

	if (!(port->flags & PORT_AWAITS))
		return false;
	ifindex = bpf_map_lookup_elem(&activations, &key);
	return !ifindex || *ifindex != port->ifindex;
}

static __always_inline bool is_gratuitous_arp(struct __sk_buff *skb)
{
	struct arp arp;

	return load_arp(skb, &arp) && arp.sender_ip[0] == arp.target_ip[0] && arp.sender_ip[1] == arp.target_ip[1] &&
	       arp.sender_ip[2] == arp.target_ip[2] && arp.sender_ip[3] == arp.target_ip[3];
}

/* Nobody's solicitation can have reached the VM, so it is unsolicited whatever its flags say. */
static __always_inline bool is_advertisement(struct __sk_buff *skb)
{
	struct ip6_packet packet;
	struct icmp6 icmp;

	return load_ip6(skb, &packet) && find_ip6_upper(skb, &packet) && load_icmp6(skb, &packet, &icmp) &&
	       icmp.type == ND_NEIGHBOUR_ADVERT;
}

/* Whether the frame is one for which a port with these flags waits. Not inlined, so that the verifier goes on from here in
 * one state. */
static __noinline int is_awaited(struct __sk_buff *skb, __u32 port_flags, __u32 type)
{
	if (type == bpf_htons(ETH_P_RARP))
		return (port_flags & PORT_AWAITS_RARP) != 0;
	if (type == bpf_htons(ETH_P_ARP))
		return (port_flags & PORT_AWAITS_GARP) && is_gratuitous_arp(skb);
	if (type == bpf_htons(ETH_P_IPV6))
		return (port_flags & PORT_AWAITS_NA) && is_advertisement(skb);
	return false;
}

static __always_inline void report_activated(const struct port_key *key)
{
	struct port_activated_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	/* Without room the agent finds it in the map, a little later. */
	if (!event)
		return;
	event->type = EVENT_PORT_ACTIVATED;
	event->datapath_key = key->datapath_key;
	event->port_key = key->port_key;
	bpf_ringbuf_submit(event, 0);
}

/* A blocked port has sent the frame. True when that activates it: this frame is the first that passes. */
static __always_inline bool activate(struct __sk_buff *skb, const struct port *port, const struct ethernet *ethernet)
{
	struct port_key key = { .datapath_key = port->datapath_key, .port_key = port->port_key };
	__u32 ifindex = port->ifindex;

	if (!is_awaited(skb, port->flags, ethernet->type) ||
	    bpf_map_update_elem(&activations, &key, &ifindex, BPF_ANY) != 0)
		return false;
	report_activated(&key);
	return true;
}
