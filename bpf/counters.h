/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

#include <linux/pkt_cls.h>

#include "drop_sample.h"
#include "maps.h"
#include "trace.h"

enum {
	/* Of a GSO packet with everything in it: Ethernet, IPv6, TCP with options. With shorter headers the count is right
	 * unless the last segment has hardly a byte. */
	GSO_HEADERS_LENGTH = 86,
};

/* A GSO packet stands for the packets that leave a NIC. From a TAP it comes without their number. */
static __always_inline __u64 packets_in(struct __sk_buff *skb)
{
	/* As in is_gso: no address of a field is to be kept. */
	asm volatile("" : "+r"(skb));
	if (skb->gso_size == 0)
		return 1;
	if (skb->gso_segs > 0)
		return skb->gso_segs;
	if (skb->len <= GSO_HEADERS_LENGTH)
		return 1;
	return (skb->len - GSO_HEADERS_LENGTH + skb->gso_size - 1) / skb->gso_size;
}

static __always_inline void count_received(struct __sk_buff *skb, __u32 slot)
{
	struct port_counters *counters = bpf_map_lookup_elem(&port_counters, &slot);

	if (!counters)
		return;
	counters->received_packets += packets_in(skb);
	counters->received_bytes += skb->len;
}

static __always_inline void count_sent(struct __sk_buff *skb, __u32 slot)
{
	struct port_counters *counters = bpf_map_lookup_elem(&port_counters, &slot);

	if (!counters)
		return;
	counters->sent_packets += packets_in(skb);
	counters->sent_bytes += skb->len;
}

/* Counts the packet as dropped at the port in `slot`: the sender's for what it did, the receiver's for what its own
 * egress stages refuse. */
__noinline int count_drop(struct __sk_buff *skb, __u32 slot, enum drop_reason reason)
{
	__u64 *packets = bpf_map_lookup_elem(&drops, &slot);
	__u64 index = reason;

	trace(skb, TRACE_DROP, slot, reason);
	/* Linux 6.1 does not know that a copy of half a register is within the same bounds. */
	asm volatile("" : "+r"(index));
	if (!packets || index >= DROP_REASON_COUNT)
		return 0;
	__sync_fetch_and_add(&packets[index], packets_in(skb));
	sample_drop(skb, slot, index);
	return 0;
}

/* The only place that discards a packet. */
static __always_inline int drop(struct __sk_buff *skb, __u32 slot, enum drop_reason reason)
{
	count_drop(skb, slot, reason);
	return TC_ACT_SHOT;
}
