/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* OVN's VXLAN packets (ovn-architecture(7), "Tunnel Encapsulations"): of the VNI the lower 12 bits are the datapath's
 * tunnel key, the upper 12 the egress port's, with a bit for multicast groups; the ingress port is not told. They are made
 * and taken apart by the node's VXLAN device, a "collect metadata" one, so that the kernel segments, sums and coalesces. */

#include "encap.h"
#include "trace.h"

enum {
	VXLAN_KEY_BITS = 12,
	VXLAN_KEY_MASK = (1 << VXLAN_KEY_BITS) - 1,
};

/* The agent gives no VXLAN tunnel to keys that do not fit. */
static __always_inline __u32 vxlan_vni(const struct passage *passage)
{
	__u32 port_key = passage->to_key;

	if (port_key >= FIRST_MULTICAST_KEY)
		port_key = VXLAN_FIRST_MULTICAST_KEY | (port_key & (VXLAN_FIRST_MULTICAST_KEY - 1));
	return port_key << VXLAN_KEY_BITS | (passage->datapath_key & VXLAN_KEY_MASK);
}

static __always_inline void read_vxlan_vni(__u32 vni, struct passage *passage)
{
	__u32 port_key = vni >> VXLAN_KEY_BITS & VXLAN_KEY_MASK;

	if (port_key & VXLAN_FIRST_MULTICAST_KEY)
		port_key = FIRST_MULTICAST_KEY | (port_key & (VXLAN_FIRST_MULTICAST_KEY - 1));
	passage->datapath_key = vni & VXLAN_KEY_MASK;
	passage->to_key = port_key;
}

/* Tells the device where the packet is to go. */
static __always_inline bool set_vxlan_passage(struct __sk_buff *skb, const struct tunnel *tunnel,
					      const struct passage *passage)
{
	struct bpf_tunnel_key key = { .tunnel_id = vxlan_vni(passage), .tunnel_ttl = TUNNEL_TTL };
	__u64 flags = BPF_F_DONT_FRAGMENT | (tunnel->flags & TUNNEL_CHECKSUM ? 0 : BPF_F_ZERO_CSUM_TX);
	__be32 address;

	if (tunnel->family == FAMILY_IP4) {
		__builtin_memcpy(&address, tunnel->remote, sizeof(address));
		key.remote_ipv4 = bpf_ntohl(address);
		__builtin_memcpy(&address, tunnel->local, sizeof(address));
		key.local_ipv4 = bpf_ntohl(address);
	} else {
		flags |= BPF_F_TUNINFO_IPV6;
		__builtin_memcpy(key.remote_ipv6, tunnel->remote, sizeof(key.remote_ipv6));
		__builtin_memcpy(key.local_ipv6, tunnel->local, sizeof(key.local_ipv6));
	}
	return set_tunnel_key(skb, &key, flags) == 0;
}

struct vxlan_endpoints {
	struct tunnel_endpoint_key source;
	struct tunnel_endpoint_key destination;
};

/* What the device has read: between which addresses and keys. False for what has not come through it as a tunnel packet. */
static __always_inline bool get_vxlan_passage(struct __sk_buff *skb, struct vxlan_endpoints *endpoints,
					      struct passage *passage)
{
	struct bpf_tunnel_key key;
	__u8 family = FAMILY_IP4;
	__be32 address;

	if (get_tunnel_key(skb, &key, 0) == 0) {
		address = bpf_htonl(key.remote_ipv4);
		__builtin_memcpy(endpoints->source.address, &address, sizeof(address));
		address = bpf_htonl(key.local_ipv4);
		__builtin_memcpy(endpoints->destination.address, &address, sizeof(address));
	} else if (get_tunnel_key(skb, &key, BPF_F_TUNINFO_IPV6) == 0) {
		family = FAMILY_IP6;
		__builtin_memcpy(endpoints->source.address, key.remote_ipv6, sizeof(key.remote_ipv6));
		__builtin_memcpy(endpoints->destination.address, key.local_ipv6, sizeof(key.local_ipv6));
	} else {
		return false;
	}
	endpoints->source.family = endpoints->destination.family = family;
	endpoints->source.type = endpoints->destination.type = TUNNEL_VXLAN;
	read_vxlan_vni(key.tunnel_id, passage);
	return true;
}
