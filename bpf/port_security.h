/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Port security (ovn-nb(5) Logical_Switch_Port.port_security): what a port may send and what may be sent to it. */

#include "maps.h"
#include "parse.h"

enum verdict {
	VERDICT_PASS = -1, /* anything else is an enum drop_reason */
};

static __always_inline const struct allowed_mac *find_allowed_mac(__u32 slot, const __u8 *mac)
{
	struct allowed_mac_key key = { .slot = slot };

	__builtin_memcpy(key.mac, mac, ETH_ADDRESS_LENGTH);
	return bpf_map_lookup_elem(&allowed_macs, &key);
}

/* Whether the entries with `mac` list the address for the given direction. `length` is 4 or 16 bytes. */
static __always_inline bool is_allowed_address(__u32 slot, const __u8 *mac, __u32 mac_flags, enum ip_family family,
					       const void *address, enum allowed_address_flags direction)
{
	struct allowed_prefix_key key = {
		.prefix_length = 8 * sizeof(key.address),
		.address = { .slot = slot, .family = family },
	};
	const struct allowed_address *allowed;

	__builtin_memcpy(key.address.mac, mac, ETH_ADDRESS_LENGTH);
	if (family == FAMILY_IP4)
		__builtin_memcpy(key.address.address, address, 4);
	else
		__builtin_memcpy(key.address.address, address, 16);
	allowed = bpf_map_lookup_elem(&allowed_addresses, &key.address);
	if (!allowed && (mac_flags & ALLOWED_PREFIXES))
		allowed = bpf_map_lookup_elem(&allowed_prefixes, &key);
	return allowed && (allowed->flags & direction);
}

static __always_inline int check_arp_sender(struct __sk_buff *skb, __u32 slot, const struct ethernet *ethernet)
{
	const struct allowed_mac *allowed = find_allowed_mac(slot, ethernet->source);
	struct arp arp;

	if (!allowed || !load_arp(skb, &arp) || !same_mac(arp.sender_mac, ethernet->source))
		return DROP_PORT_SECURITY_ARP;
	if (allowed->flags & ALLOWED_ANY_ADDRESS)
		return VERDICT_PASS;
	if ((allowed->flags & ALLOWED_IP4) && is_allowed_address(slot, ethernet->source, allowed->flags, FAMILY_IP4,
								  arp.sender_ip, ALLOWED_SOURCE))
		return VERDICT_PASS;
	return DROP_PORT_SECURITY_ARP;
}

/* A client without an address asks for one: 0.0.0.0:68 to 255.255.255.255:67. */
static __always_inline bool is_dhcp_discovery(struct __sk_buff *skb, const struct iphdr *ip)
{
	struct udphdr udp;

	return ip->saddr == 0 && ip->daddr == bpf_htonl(INADDR_BROADCAST) && load_ip4_udp(skb, ip, &udp) &&
	       udp.source == bpf_htons(DHCP_CLIENT_PORT) && udp.dest == bpf_htons(DHCP_SERVER_PORT);
}

static __always_inline int check_ip4_source(struct __sk_buff *skb, __u32 slot, const struct ethernet *ethernet,
					    __u32 mac_flags)
{
	struct iphdr ip;

	if (mac_flags & ALLOWED_ANY_ADDRESS)
		return VERDICT_PASS;
	if (!(mac_flags & ALLOWED_IP4))
		return DROP_PORT_SECURITY_IP4;
	if (!load_ip4(skb, &ip))
		return DROP_MALFORMED_IP4;
	if (is_allowed_address(slot, ethernet->source, mac_flags, FAMILY_IP4, &ip.saddr, ALLOWED_SOURCE) ||
	    is_dhcp_discovery(skb, &ip))
		return VERDICT_PASS;
	return DROP_PORT_SECURITY_IP4;
}

/* The MAC from which a link-local address was made (RFC 4291, appendix A); false for one of another form. */
static __always_inline bool mac_of_link_local(const struct in6_addr *address, __u8 *mac)
{
	const __u8 *byte = address->s6_addr;

	if (address->s6_addr32[0] != bpf_htonl(0xfe800000) || address->s6_addr32[1] != 0 || byte[11] != 0xff ||
	    byte[12] != 0xfe)
		return false;
	mac[0] = byte[8] ^ 2;
	mac[1] = byte[9];
	mac[2] = byte[10];
	mac[3] = byte[13];
	mac[4] = byte[14];
	mac[5] = byte[15];
	return true;
}

/* Whether `target` is the link-local address of a MAC that port security lists with IPv6 addresses and that the
 * advertisement's link-layer option names, or leaves open. */
static __always_inline bool is_own_link_local(__u32 slot, const struct in6_addr *target, const __u8 *target_mac)
{
	const struct allowed_mac *allowed;
	__u8 mac[ETH_ADDRESS_LENGTH];

	if (!mac_of_link_local(target, mac) || (!is_zero_mac(target_mac) && !same_mac(mac, target_mac)))
		return false;
	allowed = find_allowed_mac(slot, mac);
	return allowed && (allowed->flags & ALLOWED_IP6);
}

/* OVN's table for neighbour discovery: solicitations pass; an advertisement may speak for the sender's own addresses
 * and must not give a foreign link-layer address. */
static __always_inline int check_nd(struct __sk_buff *skb, __u32 slot, __u32 port_flags, const __u8 *source,
				    __u32 mac_flags, const struct ip6_packet *packet)
{
	const struct allowed_mac *allowed_target;
	struct icmp6 icmp;
	struct nd nd = {};

	if (packet->header.hop_limit != ND_HOP_LIMIT || !load_icmp6(skb, packet, &icmp) ||
	    icmp.type != ND_NEIGHBOUR_ADVERT)
		return VERDICT_PASS;
	if (icmp.code != 0 || !load_nd(skb, packet, &nd))
		return DROP_PORT_SECURITY_ND;

	if (is_zero_mac(nd.target_mac)) {
		if (port_flags & PORT_ANY_ND_TARGET)
			return VERDICT_PASS;
	} else {
		allowed_target = find_allowed_mac(slot, nd.target_mac);
		if (!allowed_target)
			return DROP_PORT_SECURITY_ND;
		if (allowed_target->flags & ALLOWED_ANY_ND_TARGET)
			return VERDICT_PASS;
	}
	if (is_own_link_local(slot, &nd.target, nd.target_mac))
		return VERDICT_PASS;
	if ((is_zero_mac(nd.target_mac) || same_mac(nd.target_mac, source)) &&
	    is_allowed_address(slot, source, mac_flags, FAMILY_IP6, &nd.target, ALLOWED_SOURCE))
		return VERDICT_PASS;
	return DROP_PORT_SECURITY_ND;
}

/* What a host without an address sends to ff02::/16: MLD reports and duplicate address detection, never in fragments. */
static __always_inline bool is_ip6_autoconfiguration(struct __sk_buff *skb, const struct ip6_packet *packet)
{
	struct icmp6 icmp;

	if (!is_unspecified_ip6(&packet->header.saddr) || packet->header.daddr.s6_addr16[0] != bpf_htons(0xff02) ||
	    packet->is_fragment || !load_icmp6(skb, packet, &icmp))
		return false;
	return icmp.code == 0 && (icmp.type == ICMPV6_MGM_REPORT || icmp.type == ICMPV6_MLD2_REPORT ||
				  icmp.type == ND_NEIGHBOUR_SOLICIT);
}

__noinline int check_ip6_source(struct __sk_buff *skb, __u32 slot, __u32 port_flags, const struct ethernet *ethernet,
				__u32 mac_flags)
{
	bool any_address = mac_flags & ALLOWED_ANY_ADDRESS;
	struct ip6_packet packet;

	if (!ethernet || (!any_address && !(mac_flags & ALLOWED_IP6)))
		return DROP_PORT_SECURITY_IP6;
	if (!load_ip6(skb, &packet))
		return any_address ? VERDICT_PASS : DROP_MALFORMED_IP6;
	if (!find_ip6_upper(skb, &packet))
		return DROP_MALFORMED_IP6;
	if (!any_address &&
	    !is_allowed_address(slot, ethernet->source, mac_flags, FAMILY_IP6, &packet.header.saddr, ALLOWED_SOURCE) &&
	    !is_ip6_autoconfiguration(skb, &packet))
		return DROP_PORT_SECURITY_IP6;
	return check_nd(skb, slot, port_flags, ethernet->source, mac_flags, &packet);
}

/* Ingress: may the port in `slot` send this? */
static __always_inline int check_source(struct __sk_buff *skb, __u32 slot, __u32 port_flags,
					const struct ethernet *ethernet)
{
	const struct allowed_mac *allowed;

	if (ethernet->type == bpf_htons(ETH_P_ARP))
		return check_arp_sender(skb, slot, ethernet);
	allowed = find_allowed_mac(slot, ethernet->source);
	if (!allowed)
		return DROP_PORT_SECURITY_MAC;
	if (ethernet->type == bpf_htons(ETH_P_IP))
		return check_ip4_source(skb, slot, ethernet, allowed->flags);
	if (ethernet->type == bpf_htons(ETH_P_IPV6))
		return check_ip6_source(skb, slot, port_flags, ethernet, allowed->flags);
	return allowed->flags & ALLOWED_ANY_ADDRESS ? VERDICT_PASS : DROP_PORT_SECURITY_ETHERTYPE;
}

static __always_inline bool is_ip4_multicast(__be32 address)
{
	return (address & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
}

static __always_inline int check_ip4_destination(struct __sk_buff *skb, __u32 slot, const struct ethernet *ethernet,
						 __u32 mac_flags)
{
	struct iphdr ip;

	if (!(mac_flags & ALLOWED_IP4))
		return DROP_EGRESS_PORT_SECURITY_IP4;
	if (!load_ip4(skb, &ip))
		return DROP_MALFORMED_IP4;
	if (ip.daddr == bpf_htonl(INADDR_BROADCAST) || is_ip4_multicast(ip.daddr) ||
	    is_allowed_address(slot, ethernet->destination, mac_flags, FAMILY_IP4, &ip.daddr, ALLOWED_DESTINATION))
		return VERDICT_PASS;
	return DROP_EGRESS_PORT_SECURITY_IP4;
}

static __always_inline int check_ip6_destination(struct __sk_buff *skb, __u32 slot, const struct ethernet *ethernet,
						 __u32 mac_flags)
{
	const struct in6_addr *address;
	struct ip6_packet packet;

	if (!(mac_flags & ALLOWED_IP6))
		return DROP_EGRESS_PORT_SECURITY_IP6;
	if (!load_ip6(skb, &packet))
		return DROP_MALFORMED_IP6;
	address = &packet.header.daddr;
	if (address->s6_addr[0] == 0xff ||
	    is_allowed_address(slot, ethernet->destination, mac_flags, FAMILY_IP6, address, ALLOWED_DESTINATION))
		return VERDICT_PASS;
	return DROP_EGRESS_PORT_SECURITY_IP6;
}

/* Egress: may this be handed to the port in `slot`? Broadcast and multicast frames always may. */
static __always_inline int check_destination(struct __sk_buff *skb, __u32 slot, const struct ethernet *ethernet)
{
	const struct allowed_mac *allowed;

	if (is_multicast(ethernet->destination))
		return VERDICT_PASS;
	allowed = find_allowed_mac(slot, ethernet->destination);
	if (!allowed)
		return DROP_EGRESS_PORT_SECURITY_MAC;
	if (!(allowed->flags & (ALLOWED_IP4 | ALLOWED_IP6)))
		return VERDICT_PASS;
	if (ethernet->type == bpf_htons(ETH_P_IP))
		return check_ip4_destination(skb, slot, ethernet, allowed->flags);
	if (ethernet->type == bpf_htons(ETH_P_IPV6))
		return check_ip6_destination(skb, slot, ethernet, allowed->flags);
	return VERDICT_PASS;
}
