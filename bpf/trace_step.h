/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What a traced packet leaves behind: see trace.h. */

#include <linux/types.h>

enum {
	/* Of a frame in a trace, its tunnel's headers included. */
	TRACED_FRAME_BYTES = 2048,
};

enum trace_event {
	TRACE_FROM_PORT = 0,     /* `detail` = the port key of the sender, which is in `slot` */
	TRACE_PORT_SECURITY = 1, /* the sender's port security lets it pass */
	TRACE_LEARN = 2,         /* its source MAC is learnt: it is new, or was on another port */
	TRACE_ANSWER = 3,        /* the switch answers the ARP request or neighbour solicitation itself */
	TRACE_UNICAST = 4,       /* a port has the destination MAC: that in `slot`, or if it is 0 one elsewhere, with port key `detail` */
	TRACE_FLOOD = 5,         /* `detail` = the multicast group's key */
	TRACE_FROM_TUNNEL = 6,   /* `slot` = ingress key << 16 | egress key of the packet, `detail` = the datapath's key */
	TRACE_DROP = 7,          /* `slot` = whose counter, `detail` = enum drop_reason */
	TRACE_DELIVER = 8,       /* the port in `slot` gets it; `detail` = ifindex */
	TRACE_TUNNEL = 9,        /* it goes to another chassis; `detail` = the index of map `tunnels` */
	TRACE_AGAIN = 10,        /* it comes to the program once more, with `mark`, to go on with the flood */
	TRACE_EGRESS_PORT_SECURITY = 11, /* the port security of the port in `slot`, who gets it, lets it pass */
	TRACE_TO_HOST = 12,      /* it is the host's: nobody's here, or everybody's; `slot` = of the localnet port it came by, if any */
};

/* What the kernel's tunnel device reads in a tunnel packet, or writes into it, beside the frame. */
struct tunnel_metadata {
	__u32 vni;
	__u8 family;         /* enum ip_family of the addresses; 0 = there is none */
	__u8 options_length; /* of Geneve, in bytes */
	__u16 pad;
	__u8 source[16];     /* outer addresses, IPv4 in the first 4 bytes */
	__u8 destination[16];
	__u8 options[8];
};
_Static_assert(sizeof(struct tunnel_metadata) == 48, "struct tunnel_metadata");

/* One decision, with the frame as it is then. Value of map `trace_steps`, the oldest first. */
struct trace_step {
	__u32 event; /* enum trace_event */
	__u32 slot;
	__u32 detail;
	__u32 mark;
	__u32 vlan;   /* type << 16 | TCI of the tag that is beside the frame, in host order; 0 = none */
	__u32 length; /* of the frame; more than TRACED_FRAME_BYTES = only its beginning is here */
	struct tunnel_metadata tunnel; /* of TRACE_TUNNEL, where a device makes the tunnel packet */
	__u8 frame[TRACED_FRAME_BYTES];
};
_Static_assert(sizeof(struct trace_step) == 72 + TRACED_FRAME_BYTES, "struct trace_step");
