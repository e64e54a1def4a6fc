/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The same programs a second time, for tracing (trace.bpf.c): they note what they decide, send no copies, and are told what a
 * tunnel device would have read. The agent runs them under BPF_PROG_TEST_RUN on the maps that it fills; what programs write is
 * in maps of their own. A second object rather than a switch at load time: what packets run through has not one instruction
 * more for it. */

#include <linux/bpf.h>
#include <linux/errno.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "parse.h"
#include "trace_step.h"
#include "types.h"

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

/* What a tunnel device has read in the packet that is traced. The agent writes it: a test run has nothing beside a packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_metadata);
} trace_arrival SEC(".maps");

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
	step->tunnel.family = 0;
	step->tunnel.options_length = 0;
	return 0;
}

enum { IS_TRACING = true };

/* bpf_clone_redirect really sends, under BPF_PROG_TEST_RUN, too. */
static __always_inline long send_copy(struct __sk_buff *skb __attribute__((unused)),
				      __u32 ifindex __attribute__((unused)), __u64 flags __attribute__((unused)))
{
	return 0;
}

static __always_inline long get_tunnel_key(struct __sk_buff *skb __attribute__((unused)), struct bpf_tunnel_key *key,
					   __u64 flags)
{
	__u32 index = 0;
	const struct tunnel_metadata *arrival = bpf_map_lookup_elem(&trace_arrival, &index);
	__be32 address;

	if (!arrival || arrival->family != (flags & BPF_F_TUNINFO_IPV6 ? FAMILY_IP6 : FAMILY_IP4))
		return -EPROTO;
	__builtin_memset(key, 0, sizeof(*key));
	key->tunnel_id = arrival->vni;
	if (flags & BPF_F_TUNINFO_IPV6) {
		__builtin_memcpy(key->remote_ipv6, arrival->source, sizeof(key->remote_ipv6));
		__builtin_memcpy(key->local_ipv6, arrival->destination, sizeof(key->local_ipv6));
		return 0;
	}
	__builtin_memcpy(&address, arrival->source, sizeof(address));
	key->remote_ipv4 = bpf_ntohl(address);
	__builtin_memcpy(&address, arrival->destination, sizeof(address));
	key->local_ipv4 = bpf_ntohl(address);
	return 0;
}

/* How long they are, as the helper says it. */
static __always_inline long get_tunnel_options(struct __sk_buff *skb __attribute__((unused)), void *options, __u32 size)
{
	__u32 index = 0;
	const struct tunnel_metadata *arrival = bpf_map_lookup_elem(&trace_arrival, &index);

	if (!arrival || arrival->options_length == 0)
		return -ENOENT;
	if (size < sizeof(arrival->options))
		return -ENOMEM;
	__builtin_memset(options, 0, size);
	__builtin_memcpy(options, arrival->options, sizeof(arrival->options));
	return arrival->options_length;
}

/* Notes them for the next step, too. */
static __always_inline long set_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u64 flags)
{
	__u32 index = 0;
	struct trace_step *step = bpf_map_lookup_elem(&trace_scratch, &index);
	__be32 address;

	if (!step)
		return -ENOMEM;
	__builtin_memset(&step->tunnel, 0, sizeof(step->tunnel));
	step->tunnel.vni = key->tunnel_id;
	if (flags & BPF_F_TUNINFO_IPV6) {
		step->tunnel.family = FAMILY_IP6;
		__builtin_memcpy(step->tunnel.source, key->local_ipv6, sizeof(key->local_ipv6));
		__builtin_memcpy(step->tunnel.destination, key->remote_ipv6, sizeof(key->remote_ipv6));
	} else {
		step->tunnel.family = FAMILY_IP4;
		address = bpf_htonl(key->local_ipv4);
		__builtin_memcpy(step->tunnel.source, &address, sizeof(address));
		address = bpf_htonl(key->remote_ipv4);
		__builtin_memcpy(step->tunnel.destination, &address, sizeof(address));
	}
	return bpf_skb_set_tunnel_key(skb, key, sizeof(*key), flags);
}

static __always_inline long set_tunnel_options(struct __sk_buff *skb, void *options, __u32 size)
{
	__u32 index = 0;
	struct trace_step *step = bpf_map_lookup_elem(&trace_scratch, &index);

	if (!step || size != sizeof(step->tunnel.options))
		return -ENOMEM;
	step->tunnel.options_length = size;
	__builtin_memcpy(step->tunnel.options, options, sizeof(step->tunnel.options));
	return bpf_skb_set_tunnel_opt(skb, options, size);
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

static __always_inline long get_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u64 flags)
{
	return bpf_skb_get_tunnel_key(skb, key, sizeof(*key), flags);
}

static __always_inline long get_tunnel_options(struct __sk_buff *skb, void *options, __u32 size)
{
	return bpf_skb_get_tunnel_opt(skb, options, size);
}

static __always_inline long set_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u64 flags)
{
	return bpf_skb_set_tunnel_key(skb, key, sizeof(*key), flags);
}

static __always_inline long set_tunnel_options(struct __sk_buff *skb, void *options, __u32 size)
{
	return bpf_skb_set_tunnel_opt(skb, options, size);
}

#endif
