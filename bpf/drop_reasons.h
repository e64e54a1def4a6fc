/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Why a packet is discarded. Append only: the numbers are in pinned maps, in metrics and in people's notes. The
 * comment behind each is the text that users read (scripts/generate-btf.ts). */
enum drop_reason {
	DROP_FRAME_TOO_SHORT = 0,             /* shorter than an Ethernet header */
	DROP_NO_LOGICAL_PORT = 1,             /* the tap is not bound to a logical port on this node */
	DROP_PORT_DISABLED = 2,               /* sent by a port whose `enabled` is false */
	DROP_VLAN_TAGGED = 3,                 /* 802.1Q or 802.1ad tag from a port that may not send any */
	DROP_MULTICAST_SOURCE = 4,            /* source MAC is a multicast address */
	DROP_PORT_SECURITY_MAC = 5,           /* source MAC not in port security */
	DROP_PORT_SECURITY_IP4 = 6,           /* IPv4 source not in port security */
	DROP_PORT_SECURITY_IP6 = 7,           /* IPv6 source not in port security */
	DROP_PORT_SECURITY_ARP = 8,           /* ARP sender MAC or IP not in port security */
	DROP_PORT_SECURITY_ND = 9,            /* IPv6 neighbour advertisement for an address or MAC not in port security */
	DROP_PORT_SECURITY_ETHERTYPE = 10,    /* neither IP nor ARP, from a port whose port security lists addresses */
	DROP_MALFORMED_IP4 = 11,              /* IPv4 header that can't be read, from or to a port whose port security lists addresses */
	DROP_MALFORMED_IP6 = 12,              /* IPv6 header that can't be read, from or to a port whose port security lists addresses */
	DROP_UNKNOWN_DESTINATION = 13,        /* no port of the switch has the destination MAC, and none takes unknown ones */
	DROP_HAIRPIN = 14,                    /* the destination MAC is on the port that sent the packet */
	DROP_DESTINATION_NOT_PLUGGED = 15,    /* the destination port is not plugged in on any node that this one can reach */
	DROP_NO_RECEIVER = 16,                /* multicast group without any other member */
	DROP_EGRESS_PORT_DISABLED = 17,       /* sent to a port whose `enabled` is false */
	DROP_EGRESS_PORT_SECURITY_MAC = 18,   /* destination MAC not in the receiving port's port security */
	DROP_EGRESS_PORT_SECURITY_IP4 = 19,   /* IPv4 destination not in the receiving port's port security */
	DROP_EGRESS_PORT_SECURITY_IP6 = 20,   /* IPv6 destination not in the receiving port's port security */
	DROP_DELIVERY_FAILED = 21,            /* the kernel could not hand the packet to the receiving port's device */
	DROP_MULTICAST_LIST_CHANGED = 22,     /* a multicast group lost a member while a packet was being copied: the rest of the members did not get it */
	DROP_TUNNEL_UNKNOWN_SOURCE = 23,      /* a tunnel packet that is not from a chassis with which this node shares a switch, or (through a tunnel device) not to the tunnel address */
	DROP_TUNNEL_MALFORMED = 24,           /* a tunnel packet that is cut off, or whose Geneve or VXLAN header is none that OVN sends */
	DROP_TUNNEL_OPTION = 25,              /* a tunnel packet whose Geneve option is not the one in which OVN tells the ports */
	DROP_TUNNEL_UNKNOWN_NETWORK = 26,     /* a tunnel packet whose VNI is no switch of this node */
	DROP_TUNNEL_UNKNOWN_PORT = 27,        /* a tunnel packet from or to a port key that the switch does not have */
	DROP_TUNNEL_CONGESTION = 28,          /* a tunnel packet that met congestion on the way, with a packet inside that can not say so (RFC 6040) */
	DROP_TUNNEL_TOO_BIG = 29,             /* the packet does not fit through the tunnel; unless it was a broadcast, an error or a later fragment the sender was told by ICMP */
	DROP_TUNNEL_FAILED = 30,              /* the kernel could not put the packet into its tunnel packet, or take it out */
	DROP_AWAITS_ACTIVATION = 31,          /* sent by a port that waits on this additional chassis to be activated (live migration) */
	DROP_EGRESS_AWAITS_ACTIVATION = 32,   /* sent to a port that waits on this additional chassis to be activated (live migration) */
	DROP_LOCALPORT_LEAVES_NODE = 33,      /* sent by a localport to another node or a physical network */
	DROP_REASON_COUNT,
};
