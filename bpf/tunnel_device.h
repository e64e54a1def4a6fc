/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Tunnel packets that a device of the kernel makes and takes apart, one per type for all other chassis ("collect metadata"):
 * the programs tell it from where to where with each packet, and are told so of what arrives. Segmenting, checksums and
 * coalescing are the kernel's. */

#include "geneve.h"
#include "trace.h"
#include "vxlan.h"

static __always_inline bool goes_by_device(const struct tunnel *tunnel)
{
	/* In a trace Geneve is as if our own program spoke it: the other node's may, and it needs the packet. */
	return IS_TRACING ? tunnel->type == TUNNEL_VXLAN : (tunnel->flags & TUNNEL_BY_DEVICE) != 0;
}

/* Tells the device where the packet is to go: 0, or it can't be told. */
static __noinline int set_passage(struct __sk_buff *skb, const struct tunnel *tunnel, const struct passage *passage)
{
	struct bpf_tunnel_key key = { .tunnel_ttl = TUNNEL_TTL };
	__u64 flags = BPF_F_DONT_FRAGMENT;
	struct ovn_option option;
	__be32 address;

	if (!tunnel || !passage)
		return -1;
	key.tunnel_id = tunnel->type == TUNNEL_GENEVE ? passage->datapath_key : vxlan_vni(passage);
	if (!(tunnel->flags & TUNNEL_CHECKSUM))
		flags |= BPF_F_ZERO_CSUM_TX;
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
	if (set_tunnel_key(skb, &key, flags) != 0)
		return -1;
	if (tunnel->type != TUNNEL_GENEVE)
		return 0;
	option = ovn_option(passage);
	return set_tunnel_options(skb, &option, sizeof(option));
}

struct tunnel_endpoints {
	struct tunnel_endpoint_key source;
	struct tunnel_endpoint_key destination;
};

/* Between which addresses the tunnel packet went, and its VNI. False for what has not come through the device as one. */
static __always_inline bool get_endpoints(struct __sk_buff *skb, __u8 type, struct tunnel_endpoints *endpoints,
					  __u32 *vni)
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
	endpoints->source.type = endpoints->destination.type = type;
	*vni = key.tunnel_id;
	return true;
}

/* False when the packet did not bring OVN's option and nothing else. */
static __always_inline bool get_passage(struct __sk_buff *skb, __u8 type, __u32 vni, struct passage *passage)
{
	struct ovn_option option;

	if (type == TUNNEL_VXLAN) {
		read_vxlan_vni(vni, passage);
		return true;
	}
	passage->datapath_key = vni;
	return get_tunnel_options(skb, &option, sizeof(option)) == sizeof(option) &&
	       read_ovn_option(&option, passage);
}
