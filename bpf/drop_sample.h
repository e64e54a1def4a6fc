/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Drops are all counted; of those that are alike, one now and then is shown to the agent. A flood of them costs a
 * look-up each. */

#include <stdbool.h>

#include "maps.h"
#include "parse.h"

enum {
	NS_PER_MS = 1000000,
};

static __always_inline bool is_sample_due(__u32 slot, __u64 reason)
{
	__u32 *sampled_ms = bpf_map_lookup_elem(&drop_sampled_ms, &slot);
	__u32 now_ms = bpf_ktime_get_coarse_ns() / NS_PER_MS;

	if (!sampled_ms || reason >= DROP_REASON_COUNT || now_ms - sampled_ms[reason] < SAMPLE_INTERVAL_MS)
		return false;
	sampled_ms[reason] = now_ms;
	return true;
}

static __always_inline void count_lost_sample(void)
{
	__u32 index = 0;
	struct drop_sampling *sampling = bpf_map_lookup_elem(&drop_sampling, &index);

	if (sampling)
		sampling->lost_samples++;
}

/* Tells the agent of a packet that is dropped, unless it was told of one like it a moment ago. */
static __always_inline void sample_drop(struct __sk_buff *skb, __u32 slot, __u64 reason)
{
	struct packet_dropped_event *event;

	if (!is_sample_due(slot, reason))
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_lost_sample();
		return;
	}
	event->type = EVENT_PACKET_DROPPED;
	event->slot = slot;
	event->reason = reason;
	event->ifindex = skb->ifindex;
	event->packet_length = skb->len;
	event->vlan_protocol = skb->vlan_present ? skb->vlan_proto : 0;
	event->vlan_tci = skb->vlan_tci;
	event->pad = 0;
	__builtin_memset(event->head, 0, sizeof(event->head));
	event->head_length = load_start(skb, event->head, SAMPLE_HEAD_LENGTH);
	bpf_ringbuf_submit(event, 0);
}
