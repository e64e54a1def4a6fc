/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What the agent and the programs say to each other. TypeScript gets these layouts, sizes and enum values from
 * the objects' BTF (scripts/generate-btf.ts), so this is the only place where they are written down.
 *
 * Byte order: keys and ids are in host order, anything that also stands in a packet (MACs, IPs) in network order.
 * Padding is explicit and zero: keys are compared as bytes. */

#include <linux/types.h>

enum {
	/* Local ports a node can hold at most; slot 0 stands for "no logical port". Overridden by the agent at load time. */
	DEFAULT_MAX_PORTS = 8192,
	ETH_ADDRESS_LENGTH = 6,
	/* Tunnel keys of OVN's well-known multicast groups (ovn-architecture(7), "Tunnel Encapsulations"). */
	MULTICAST_FLOOD = 32768,
	MULTICAST_UNKNOWN = 32769,
	/* Entries of map `tunnels`, entry 0 included, which is none. */
	MAX_TUNNELS = 4096,
	/* Addresses of the node that its ports' tunnel packets may come from; the first is the default. */
	TUNNEL_SOURCES = 8,
	/* Keys from here on are multicast groups'. */
	FIRST_MULTICAST_KEY = 32768,
	/* Where they begin in the 12 bits that OVN's VXLAN has for the egress port, and how many there are of each. */
	VXLAN_FIRST_MULTICAST_KEY = 2048,
	VXLAN_DATAPATH_KEYS = 4096,
	/* In the place of an index of map `tunnels`: the port is at several places (Port_Binding.additional_chassis). What is sent to
	 * it is copied to all, listed in `multicast_members` and `remote_members` like a group's, under the port's own key. */
	SEVERAL_PLACES = 65535,
	/* From this bit on struct port.flags has which of the TUNNEL_SOURCES the port's tunnel packets come from. */
	PORT_SOURCE_SHIFT = 29,
	/* Localnet ports that may have the same uplink and VLAN: their number is in 4 bits of a mark (deliver.h). */
	MAX_LOCALNETS_OF_PLACE = 16,
	/* With an enum ip_family in struct allowed_address_key.family: not an address that port security lists, but one for which a
	 * gratuitous ARP or an advertisement activates the port (activation.h). */
	ACTIVATING_FAMILY = 0x80,
};

/* struct port.flags */
enum port_flags {
	PORT_ENABLED = 1 << 0,       /* Logical_Switch_Port.enabled */
	PORT_SECURITY = 1 << 1,      /* has port security: what is not listed in port_security_* is dropped */
	PORT_REDIRECT_PEER = 1 << 2, /* a veth whose other end is in another network namespace */
	PORT_ANY_ND_TARGET = 1 << 3, /* an entry of its port security has no IPv6 address: see allowed_mac_flags.ALLOWED_ANY_ND_TARGET */
	PORT_VLAN_PASSTHRU = 1 << 4, /* Logical_Switch.other_config:vlan-passthru: may send frames with VLAN tags */
	PORT_LOCALNET = 1 << 5,      /* a localnet port: its interface is the uplink to a physical network */
	PORT_SERVICE_TAG = 1 << 6,   /* Logical_Switch_Port.options:ethtype of a localnet port is 802.1ad */
	PORT_LOCALPORT = 1 << 7,     /* a localport: what it sends stays on the node */
	PORT_LEARNS = 1 << 8,        /* takes unknown addresses and has no port security: its source MACs are learnt */
	/* On an additional chassis, by Logical_Switch_Port.options:activation-strategy: nothing passes from or to the port before
	 * it has sent one of these (activation.h). */
	PORT_AWAITS_RARP = 1 << 12,
	PORT_AWAITS_GARP = 1 << 13,
	PORT_AWAITS_NA = 1 << 14,
};

/* A logical port that is plugged in on this node. Index of map `ports` is its slot. */
struct port {
	__u32 datapath_key; /* Datapath_Binding.tunnel_key; 0 = the slot is free */
	__u32 port_key;     /* Port_Binding.tunnel_key */
	__u32 ifindex;
	__u32 flags;        /* enum port_flags, and from PORT_SOURCE_SHIFT on a tunnel source */
	__u16 vlan_id;      /* of a nested or localnet port: frames to it get this tag; 0 = none */
	/* Other localnet ports of the node, each of another switch, with the same uplink and VLAN: those behind one another by
	 * next_sharer, and behind the last the first. */
	__u16 sharers;
	/* Of the localnet port by which the switch reaches its ports on other nodes; 0 = it has none here, they are reached by tunnels. */
	__u32 localnet_slot;
	__u32 next_sharer; /* its slot; 0 = it shares with nobody */
};
_Static_assert(sizeof(struct port) == 28, "struct port");

/* Key of map `ports_by_interface`: where a frame comes from. */
struct interface_key {
	__u32 ifindex;
	__u16 vlan_id; /* Port_Binding.tag of a nested or localnet port; 0 = the port whose interface it is */
	__u16 pad;
};
_Static_assert(sizeof(struct interface_key) == 8, "struct interface_key");

/* Key of map `destinations`: which port of a switch has this MAC. */
struct mac_key {
	__u32 datapath_key;
	__u8 mac[ETH_ADDRESS_LENGTH];
	__u16 pad;
};
_Static_assert(sizeof(struct mac_key) == 12, "struct mac_key");

/* Value of map `destinations`. */
struct destination {
	__u32 port_key;
	__u32 slot; /* 0 = the port is not plugged in on this node, or elsewhere, too: see map `ports_by_key` */
};
_Static_assert(sizeof(struct destination) == 8, "struct destination");

/* Key of map `multicast_members`: a linked list per group, from slot 0 (its head) through every local member. The
 * agent adds entries before it points to them and removes them after, so a reader always finds its way. */
struct member_key {
	__u32 datapath_key;
	__u32 group_key; /* Multicast_Group.tunnel_key; the key of a port that is at SEVERAL_PLACES */
	__u32 slot;
};
_Static_assert(sizeof(struct member_key) == 12, "struct member_key");

/* Value of map `multicast_members`. */
struct member {
	__u32 next_slot; /* 0 = the last */
};
_Static_assert(sizeof(struct member) == 4, "struct member");

/* struct allowed_mac.flags: what the port security entries with this MAC say together. */
enum allowed_mac_flags {
	ALLOWED_ANY_ADDRESS = 1 << 0, /* one of them has no addresses */
	ALLOWED_IP4 = 1 << 1,         /* one of them has IPv4 addresses */
	ALLOWED_IP6 = 1 << 2,
	ALLOWED_PREFIXES = 1 << 3,    /* one of them has a prefix that is not a host: see map allowed_prefixes */
	ALLOWED_ANY_ND_TARGET = 1 << 4, /* one of them has no IPv6 address: OVN lets its MAC be advertised for any target */
};

/* Key of map `allowed_macs`. */
struct allowed_mac_key {
	__u32 slot;
	__u8 mac[ETH_ADDRESS_LENGTH];
	__u16 pad;
};
_Static_assert(sizeof(struct allowed_mac_key) == 12, "struct allowed_mac_key");

/* Value of map `allowed_macs`. */
struct allowed_mac {
	__u32 flags; /* enum allowed_mac_flags */
};
_Static_assert(sizeof(struct allowed_mac) == 4, "struct allowed_mac");

/* struct allowed_address.flags */
enum allowed_address_flags {
	ALLOWED_SOURCE = 1 << 0,      /* from the port; as ARP sender or ND target, too */
	ALLOWED_DESTINATION = 1 << 1, /* to the port */
};

enum ip_family {
	FAMILY_IP4 = 4,
	FAMILY_IP6 = 6,
};

/* Key of map `allowed_addresses`: host addresses, IPv4 in the first 4 bytes with the rest zero. */
struct allowed_address_key {
	__u32 slot;
	__u8 mac[ETH_ADDRESS_LENGTH];
	__u8 family; /* enum ip_family, with ACTIVATING_FAMILY for another use */
	__u8 pad;
	__u8 address[16];
};
_Static_assert(sizeof(struct allowed_address_key) == 28, "struct allowed_address_key");

/* Key of map `allowed_prefixes` (a trie): as above; prefix_length counts from `slot` on, so 96 + the prefix' own. */
struct allowed_prefix_key {
	__u32 prefix_length;
	struct allowed_address_key address;
};
_Static_assert(sizeof(struct allowed_prefix_key) == 32, "struct allowed_prefix_key");

/* Value of maps `allowed_addresses` and `allowed_prefixes`. In the trie the flags already include those of every
 * shorter prefix that covers this one. */
struct allowed_address {
	__u32 flags; /* enum allowed_address_flags */
};
_Static_assert(sizeof(struct allowed_address) == 4, "struct allowed_address");

/* Key of map `neighbours`: an address of a switch that is answered for; IPv4 in the first 4 bytes, the rest zero. */
struct neighbour_key {
	__u32 datapath_key;
	__u8 family; /* enum ip_family */
	__u8 pad[3];
	__u8 address[16];
};
_Static_assert(sizeof(struct neighbour_key) == 24, "struct neighbour_key");

/* Value of map `neighbours`. */
struct neighbour {
	__u32 port_key; /* the owner, who is not answered */
	__u8 mac[ETH_ADDRESS_LENGTH];
	__u16 pad;
};
_Static_assert(sizeof(struct neighbour) == 12, "struct neighbour");

/* Value of map `fdb`, whose key is a struct mac_key: where a MAC was last seen, by this node or by another. */
struct fdb_entry {
	__u32 port_key;
	/* 0 = the port was not plugged in on this node. Whoever follows it checks that the slot is still that port's. */
	__u32 slot;
	__u64 seen_ns; /* CLOCK_MONOTONIC, to about a second; 0 = another node has seen it */
};
_Static_assert(sizeof(struct fdb_entry) == 16, "struct fdb_entry");

/* Value of map `learning_counters`, per CPU, since the map was made. */
struct learning_counters {
	__u64 learned;     /* MACs that were new */
	__u64 moved;       /* MACs that were known on another port */
	__u64 lost_events; /* events for which there was no room; the agent finds in the map what they were about */
};
_Static_assert(sizeof(struct learning_counters) == 24, "struct learning_counters");

/* First field of whatever is in map `events`. */
enum event_type {
	EVENT_MAC_LEARNED = 1,
	EVENT_PORT_ACTIVATED = 2,
	EVENT_PACKET_DROPPED = 3,
};

/* A MAC that is new in map `fdb`, or on another port than before. */
struct mac_learned_event {
	__u32 type; /* EVENT_MAC_LEARNED */
	__u32 datapath_key;
	__u32 port_key;
	__u8 mac[ETH_ADDRESS_LENGTH];
	__u16 pad;
};
_Static_assert(sizeof(struct mac_learned_event) == 20, "struct mac_learned_event");

/* A port has been activated: there is a new entry in map `activations`. */
struct port_activated_event {
	__u32 type; /* EVENT_PORT_ACTIVATED */
	__u32 datapath_key;
	__u32 port_key;
};
_Static_assert(sizeof(struct port_activated_event) == 12, "struct port_activated_event");

enum drop_sample_limits {
	SAMPLE_HEAD_LENGTH = 128,
	/* A drop of the same reason at the same port is not sampled sooner after one that was. */
	SAMPLE_INTERVAL_MS = 250,
};

/* One of the packets that were dropped, as it was when that was decided. */
struct packet_dropped_event {
	__u32 type;          /* EVENT_PACKET_DROPPED */
	__u32 slot;          /* under which it was counted */
	__u32 reason;        /* enum drop_reason */
	__u32 ifindex;       /* where the program ran: of the sender's tap, or of the underlay */
	__u32 packet_length; /* without the tag that the kernel keeps beside the packet; of a GSO packet all of it */
	__u16 head_length;   /* bytes of `head` that are the packet's */
	__u16 vlan_protocol; /* of the tag beside the packet, in network order; 0 = none */
	__u16 vlan_tci;
	__u16 pad;
	__u8 head[SAMPLE_HEAD_LENGTH];
};
_Static_assert(sizeof(struct packet_dropped_event) == 156, "struct packet_dropped_event");

/* Value of map `drop_sampling`, per CPU, since the map was made. */
struct drop_sampling {
	__u64 lost_samples; /* for which there was no room in `events` */
};
_Static_assert(sizeof(struct drop_sampling) == 8, "struct drop_sampling");

/* Key of map `ports_by_key`: a port of one of the node's switches, or, with port key 0, the switch itself. */
struct port_key {
	__u32 datapath_key;
	__u32 port_key;
};
_Static_assert(sizeof(struct port_key) == 8, "struct port_key");

/* Value of map `ports_by_key`: where the port is. Both 0 = on no node that this one can reach. */
struct port_place {
	__u32 slot;   /* on this node, else 0 */
	__u32 tunnel; /* index of map `tunnels` to the node where it is, or SEVERAL_PLACES, else 0 */
};
_Static_assert(sizeof(struct port_place) == 8, "struct port_place");

/* Encap.type */
enum tunnel_type {
	TUNNEL_GENEVE = 1,
	TUNNEL_VXLAN = 2,
};

/* struct tunnel.flags */
enum tunnel_flags {
	TUNNEL_CHECKSUM = 1 << 0,  /* Encap.options:csum: the other end wants an outer UDP checksum */
	/* Tunnel packets are made by a device of the kernel (tunnel_device.h), and not by our own program (geneve.h). VXLAN always. */
	TUNNEL_BY_DEVICE = 1 << 1,
};

/* Value of map `tunnels`: how to reach another chassis. IPv4 addresses in the first 4 bytes. Behind the MAX_TUNNELS from the
 * node's default address come as many from each other source, in the same order. */
struct tunnel {
	__u8 remote[16];
	__u8 local[16];
	__u16 type;          /* enum tunnel_type */
	__u16 flags;         /* enum tunnel_flags */
	__u32 family;        /* enum ip_family of both addresses; 0 = the entry is free */
	__u32 ifindex;       /* the underlay interface by which the route leads, or the tunnel device */
	__u32 relay_ifindex; /* the end of the node's relay (tunnel.h) to send into */
	__u32 mtu;           /* of the route: the longest outer IP packet */
};
_Static_assert(sizeof(struct tunnel) == 52, "struct tunnel");

/* Key of map `remote_members`: like struct member_key, with indices of map `tunnels` in the place of slots. */
struct remote_member_key {
	__u32 datapath_key;
	__u32 group_key;
	__u32 tunnel;
};
_Static_assert(sizeof(struct remote_member_key) == 12, "struct remote_member_key");

/* Value of map `remote_members`. */
struct remote_member {
	__u32 next_tunnel; /* 0 = the last */
};
_Static_assert(sizeof(struct remote_member) == 4, "struct remote_member");

/* struct tunnel_endpoint.flags */
enum tunnel_endpoint_flags {
	ENDPOINT_LOCAL = 1 << 0,  /* this node's own */
	ENDPOINT_REMOTE = 1 << 1, /* another chassis' that may send to this node */
};

/* Key of map `tunnel_endpoints`: an address of the underlay for one type of tunnel, IPv4 in the first 4 bytes with the rest zero. */
struct tunnel_endpoint_key {
	__u8 family; /* enum ip_family */
	__u8 type;   /* enum tunnel_type */
	__u16 pad;
	__u8 address[16];
};
_Static_assert(sizeof(struct tunnel_endpoint_key) == 20, "struct tunnel_endpoint_key");

/* Value of map `tunnel_endpoints`. */
struct tunnel_endpoint {
	__u32 flags; /* enum tunnel_endpoint_flags */
};
_Static_assert(sizeof(struct tunnel_endpoint) == 4, "struct tunnel_endpoint");

/* Value of map `port_counters`, per CPU, by slot. Received is what came from the VM, dropped or not; sent is
 * what was handed to the VM's device. A GSO packet counts as its segments. */
struct port_counters {
	__u64 received_packets;
	__u64 received_bytes;
	__u64 sent_packets;
	__u64 sent_bytes;
};
_Static_assert(sizeof(struct port_counters) == 32, "struct port_counters");
