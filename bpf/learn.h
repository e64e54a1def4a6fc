/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* MAC learning, as OVN's stages lookup_fdb, put_fdb and get_fdb: of ports that take unknown addresses and have no port
 * security (northd's build_lswitch_learn_fdb_op) every source MAC is noted, whatever the frame. */

#include <stdbool.h>

#include "maps.h"

enum {
	/* How old an entry's time may become while the MAC is in use: written seldom, it stays in the caches of all CPUs. */
	FDB_REFRESH_NS = 1000000000,
};

enum sighting {
	SIGHTING_NEW,
	SIGHTING_MOVED,
	SIGHTING_SAME_PORT, /* whose place on this node is another one now */
};

static __always_inline void report_learned(const struct mac_key *key, __u32 port_key,
					   struct learning_counters *counters)
{
	struct mac_learned_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		if (counters)
			counters->lost_events++;
		return;
	}
	event->type = EVENT_MAC_LEARNED;
	event->datapath_key = key->datapath_key;
	event->port_key = port_key;
	__builtin_memcpy(event->mac, key->mac, ETH_ADDRESS_LENGTH);
	event->pad = 0;
	bpf_ringbuf_submit(event, 0);
}

/* Replaces the entry as a whole: nobody sees the port of one sighting with the slot of another. */
static __noinline int note_mac(const struct mac_key *key, __u32 port_key, __u32 slot, enum sighting sighting)
{
	struct fdb_entry entry = { .port_key = port_key, .slot = slot, .seen_ns = bpf_ktime_get_coarse_ns() };
	struct learning_counters *counters;
	__u32 index = 0;

	if (!key || bpf_map_update_elem(&fdb, key, &entry, BPF_ANY) != 0 || sighting == SIGHTING_SAME_PORT)
		return 0;
	counters = bpf_map_lookup_elem(&learning_counters, &index);
	if (counters && sighting == SIGHTING_MOVED)
		counters->moved++;
	else if (counters)
		counters->learned++;
	report_learned(key, port_key, counters);
	return 0;
}

/* The port in `slot` has sent a frame from `source`. Whether that is news. */
static __always_inline bool learn_source(const struct port *from, __u32 slot, const __u8 *source)
{
	struct mac_key key = { .datapath_key = from->datapath_key };
	struct fdb_entry *entry;
	__u64 now_ns;

	__builtin_memcpy(key.mac, source, ETH_ADDRESS_LENGTH);
	entry = bpf_map_lookup_elem(&fdb, &key);
	if (!entry) {
		note_mac(&key, from->port_key, slot, SIGHTING_NEW);
		return true;
	}
	if (entry->port_key != from->port_key) {
		/* The way to a VM of another node leads there, too: its own port has the say. */
		if (from->flags & PORT_LOCALNET)
			return false;
		note_mac(&key, from->port_key, slot, SIGHTING_MOVED);
		return true;
	}
	if (entry->slot != slot) {
		note_mac(&key, from->port_key, slot, SIGHTING_SAME_PORT);
		return false;
	}
	now_ns = bpf_ktime_get_coarse_ns();
	if ((__s64)(now_ns - entry->seen_ns) >= FDB_REFRESH_NS)
		entry->seen_ns = now_ns;
	return false;
}

/* Where the MAC was learnt; false when it was not, or when the slot is another port's by now. The entry is copied
 * first: the kernel may give its memory to another MAC while it is read. */
static __always_inline bool find_learned(const struct mac_key *key, struct destination *found)
{
	const struct fdb_entry *entry = bpf_map_lookup_elem(&fdb, key);
	const struct port *port;

	if (!entry)
		return false;
	found->port_key = entry->port_key;
	found->slot = entry->slot;
	if (found->slot == 0)
		return true;
	port = bpf_map_lookup_elem(&ports, &found->slot);
	return port && port->datapath_key == key->datapath_key && port->port_key == found->port_key;
}
