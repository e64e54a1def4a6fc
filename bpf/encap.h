/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What tunnel packets of all types have in common. */

#include "parse.h"
#include "maps.h"

enum {
	TUNNEL_TTL = 64,
	/* Between the outer IP header and the inner frame, UDP header included. */
	GENEVE_HEADERS_LENGTH = 24, /* with OVN's option */
	VXLAN_HEADERS_LENGTH = 16,
};

/* Which frame goes where. */
struct passage {
	__u32 tunnel;
	__u32 datapath_key;
	__u32 from_key;
	__u32 to_key;
};

static __always_inline const struct tunnel *find_tunnel(__u32 id)
{
	const struct tunnel *tunnel = bpf_map_lookup_elem(&tunnels, &id);

	return tunnel && tunnel->family != 0 ? tunnel : NULL;
}

static __always_inline bool has_endpoint(const struct tunnel_endpoint_key *key, __u32 flag)
{
	const struct tunnel_endpoint *endpoint = bpf_map_lookup_elem(&tunnel_endpoints, key);

	return endpoint && (endpoint->flags & flag);
}

static __always_inline __u32 outer_ip_length(const struct tunnel *tunnel)
{
	return tunnel->family == FAMILY_IP4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* What the tunnel packet has before the inner frame, but for the outer Ethernet header. */
static __always_inline __u32 tunnel_overhead(const struct tunnel *tunnel)
{
	return outer_ip_length(tunnel) +
	       (tunnel->type == TUNNEL_VXLAN ? VXLAN_HEADERS_LENGTH : GENEVE_HEADERS_LENGTH);
}
