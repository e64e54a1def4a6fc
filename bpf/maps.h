/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "drop_reasons.h"
#include "types.h"

/* The agent writes all of these and the programs read them, but for the two counter arrays at the end, where it is
 * the other way round. max_entries here are defaults: the agent sets what it was configured to before it loads. A
 * full hash refuses the agent's write, which it reports for the port concerned; nothing else changes. */

/* Slot -> local port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

/* ifindex -> slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, __u32);
	__type(value, __u32);
} ports_by_ifindex SEC(".maps");

/* MAC within a switch -> the port that has it, on whichever node. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mac_key);
	__type(value, struct destination);
} destinations SEC(".maps");

/* The local members of each multicast group, a linked list. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct member_key);
	__type(value, struct member);
} multicast_members SEC(".maps");

/* IP within a switch -> the MAC to answer ARP requests and neighbour solicitations with. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct neighbour_key);
	__type(value, struct neighbour);
} neighbours SEC(".maps");

/* Port security: the MACs of a port's entries. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct allowed_mac_key);
	__type(value, struct allowed_mac);
} allowed_macs SEC(".maps");

/* Port security: the host addresses that go with a MAC. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct allowed_address_key);
	__type(value, struct allowed_address);
} allowed_addresses SEC(".maps");

/* Port security: the networks that go with a MAC; asked only where an entry has one, as a trie is the slower map. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct allowed_prefix_key);
	__type(value, struct allowed_address);
} allowed_prefixes SEC(".maps");

/* Slot -> traffic, per CPU. The agent reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, __u32);
	__type(value, struct port_counters);
} port_counters SEC(".maps");

/* slot * DROP_REASON_COUNT + reason -> packets. Drops are rare: one atomic counter for all CPUs saves the memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_MAX_PORTS * DROP_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");
