/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The same programs a second time, for tracing (trace.bpf.c): they note what they decide, and send no copies. The agent runs
 * them under BPF_PROG_TEST_RUN on the maps that it fills; what programs write is in maps of their own. A second object rather
 * than a switch at load time: what packets run through has not one instruction more for it. */

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "parse.h"
#include "trace_step.h"

#ifdef TRACING

/* Full: what comes then is left out of the trace. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 2048);
	__type(value, struct trace_step);
} trace_steps SEC(".maps");

/* Where a step is put together: it is larger than a stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct trace_step);
} trace_scratch SEC(".maps");

/* Global, so that the verifier goes through it once. */
__noinline int trace(struct __sk_buff *skb, __u32 event, __u32 slot, __u32 detail)
{
	__u32 index = 0;
	struct trace_step *step = bpf_map_lookup_elem(&trace_scratch, &index);

	if (!step)
		return 0;
	step->event = event;
	step->slot = slot;
	step->detail = detail;
	step->mark = skb->mark;
	step->vlan = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) << 16 | (skb->vlan_tci & 0xffff) : 0;
	step->length = skb->len;
	load_start(skb, step->frame, TRACED_FRAME_BYTES);
	bpf_map_push_elem(&trace_steps, step, BPF_ANY);
	return 0;
}

enum { IS_TRACING = true };

/* bpf_clone_redirect really sends, under BPF_PROG_TEST_RUN, too. */
static __always_inline long send_copy(struct __sk_buff *skb __attribute__((unused)),
				      __u32 ifindex __attribute__((unused)), __u64 flags __attribute__((unused)))
{
	return 0;
}

#else

enum { IS_TRACING = false };

static __always_inline void trace(struct __sk_buff *skb __attribute__((unused)),
				  enum trace_event event __attribute__((unused)), __u32 slot __attribute__((unused)),
				  __u32 detail __attribute__((unused)))
{
}

static __always_inline long send_copy(struct __sk_buff *skb, __u32 ifindex, __u64 flags)
{
	return bpf_clone_redirect(skb, ifindex, flags);
}

#endif
