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

static __always_inline bool is_activating(__u32 slot, const __u8 *mac, enum ip_family family, const void *address)
{
	struct allowed_address_key key = { .slot = slot, .family = family | ACTIVATING_FAMILY };

	__builtin_memcpy(key.mac, mac, ETH_ADDRESS_LENGTH);
	if (family == FAMILY_IP4)
		__builtin_memcpy(key.address, address, 4);
	else
		__builtin_memcpy(key.address, address, 16);
	return bpf_map_lookup_elem(&allowed_addresses, &key);
}

/* ARP of either kind that asks for the sender's own address, which is one of the port's. */
static __always_inline bool is_gratuitous_arp(struct __sk_buff *skb, __u32 slot)
{
	struct ethernet ethernet;
	struct arp arp;

	return load(skb, 0, &ethernet, sizeof(ethernet)) && load_arp(skb, &arp) &&
	       same_mac(ethernet.source, arp.sender_mac) && arp.sender_ip[0] == arp.target_ip[0] &&
	       arp.sender_ip[1] == arp.target_ip[1] && arp.sender_ip[2] == arp.target_ip[2] &&
	       arp.sender_ip[3] == arp.target_ip[3] && is_activating(slot, arp.sender_mac, FAMILY_IP4, arp.sender_ip);
}

/* Solicited or not, from and for an address of the port, and with its MAC. */
static __always_inline bool is_own_advertisement(struct __sk_buff *skb, __u32 slot)
{
	struct ip6_packet packet;
	struct icmp6 icmp;
	struct nd nd = {};

	if (!load_ip6(skb, &packet) || !find_ip6_upper(skb, &packet) || !load_icmp6(skb, &packet, &icmp) ||
	    icmp.type != ND_NEIGHBOUR_ADVERT || icmp.code != 0 || !load_nd(skb, &packet, &nd))
		return false;
	for (int i = 0; i < 4; i++)
		if (packet.header.saddr.s6_addr32[i] != nd.target.s6_addr32[i])
			return false;
	return is_activating(slot, nd.target_mac, FAMILY_IP6, &nd.target);
}

/* Whether the frame is one for which a port with these flags waits; what counts is what ovn-controller's flows match
 * (controller/physical.c). Not inlined, so that the verifier goes on from here in one state. */
static __noinline int is_awaited(struct __sk_buff *skb, __u32 slot, __u32 port_flags, __u32 type)
{
	if (type == bpf_htons(ETH_P_RARP))
		return (port_flags & PORT_AWAITS_RARP) != 0;
	if (type == bpf_htons(ETH_P_ARP))
		return (port_flags & PORT_AWAITS_GARP) && is_gratuitous_arp(skb, slot);
	if (type == bpf_htons(ETH_P_IPV6))
		return (port_flags & PORT_AWAITS_NA) && is_own_advertisement(skb, slot);
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
static __always_inline bool activate(struct __sk_buff *skb, const struct port *port, __u32 slot,
				     const struct ethernet *ethernet)
{
	struct port_key key = { .datapath_key = port->datapath_key, .port_key = port->port_key };
	__u32 ifindex = port->ifindex;

	if (!is_awaited(skb, slot, port->flags, ethernet->type) ||
	    bpf_map_update_elem(&activations, &key, &ifindex, BPF_ANY) != 0)
		return false;
	report_activated(&key);
	return true;
}
