/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "drop_reasons.h"
#include "types.h"

/* The agent writes all of these and the programs read them, but for the counter arrays, where it is the other
 * way round, and for what is learnt. max_entries here are defaults: the agent sets what it was configured to before it loads. A
 * full hash refuses the agent's write, which it reports for the port concerned; nothing else changes. */

/* Slot -> local port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

/* Interface, and VLAN of a nested or localnet port -> slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, struct interface_key);
	__type(value, __u32);
} ports_by_interface SEC(".maps");

/* MAC within a switch -> the port that has it, on whichever node. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
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

/* Port of a switch -> where it is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_key);
	__type(value, struct port_place);
} ports_by_key SEC(".maps");

/* Number -> tunnel to another chassis; 0 is none. Once for each source (struct tunnel). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TUNNELS * TUNNEL_SOURCES);
	__type(key, __u32);
	__type(value, struct tunnel);
} tunnels SEC(".maps");

/* The tunnels to chassis that host members of each multicast group, a linked list like `multicast_members`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct remote_member_key);
	__type(value, struct remote_member);
} remote_members SEC(".maps");

/* Underlay address -> whose it is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tunnel_endpoint_key);
	__type(value, struct tunnel_endpoint);
} tunnel_endpoints SEC(".maps");

/* IP within a switch -> the MAC to answer ARP requests and neighbour solicitations with. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
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

/* Slot -> packets by reason. Drops are rare: one atomic counter for all CPUs saves the memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, __u32);
	__type(value, __u64[DROP_REASON_COUNT]);
} drops SEC(".maps");

/* Slot -> when a drop of each reason was last sampled, in ms of CLOCK_MONOTONIC, modulo 2^32. The programs' own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__type(key, __u32);
	__type(value, __u32[DROP_REASON_COUNT]);
} drop_sampled_ms SEC(".maps");

/* What became of the samples. The programs write it, the agent reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drop_sampling);
} drop_sampling SEC(".maps");

/* MAC within a switch -> the port behind which it was seen. The programs and the agent write it; when it is full the
 * kernel gives up an entry that has not been used for long, and frames to that MAC are flooded until it is learnt again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct mac_key);
	__type(value, struct fdb_entry);
} fdb SEC(".maps");

/* What the programs did to `fdb`. They write it, the agent reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct learning_counters);
} learning_counters SEC(".maps");

/* Port -> the interface on which it has been activated while it was blocked. The programs write it, so that the block ends with the
 * frame that ends it; the agent reads it, and removes what is over. Full: the port stays blocked. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEFAULT_MAX_PORTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_key);
	__type(value, __u32);
} activations SEC(".maps");

/* What the agent is to hear at once: structs that begin with an enum event_type. Full: the event is left out, and
 * counted by whoever had it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");
