/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* OVN's VXLAN packets (ovn-architecture(7), "Tunnel Encapsulations"): of the VNI the lower 12 bits are the datapath's
 * tunnel key, the upper 12 the egress port's, with a bit for multicast groups; the ingress port is not told. */

#include "encap.h"

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
