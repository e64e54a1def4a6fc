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
	TRACE_UNICAST = 4,       /* `detail` = the port key that has the destination MAC, in `slot` (0 = not on this node) */
	TRACE_FLOOD = 5,         /* `detail` = the multicast group's key */
	TRACE_FROM_TUNNEL = 6,   /* `slot` = the egress key in the packet, `detail` = the ingress key */
	TRACE_DROP = 7,          /* `slot` = whose counter, `detail` = enum drop_reason */
	TRACE_DELIVER = 8,       /* the port in `slot` gets it; `detail` = ifindex */
	TRACE_TUNNEL = 9,        /* it goes to another chassis; `detail` = the index of map `tunnels` */
	TRACE_AGAIN = 10,        /* it comes to the program once more, with `mark`, to go on with the flood */
};

/* One decision, with the frame as it is then. Value of map `trace_steps`, the oldest first. */
struct trace_step {
	__u32 event; /* enum trace_event */
	__u32 slot;
	__u32 detail;
	__u32 mark;
	__u32 vlan;   /* type << 16 | TCI of the tag that is beside the frame, in host order; 0 = none */
	__u32 length; /* of the frame; more than TRACED_FRAME_BYTES = only its beginning is here */
	__u8 frame[TRACED_FRAME_BYTES];
};
_Static_assert(sizeof(struct trace_step) == 24 + TRACED_FRAME_BYTES, "struct trace_step");
