/**
 * What the web page asks for, as JSON (docs/web.md). Times are seconds since the epoch. Every text may come from a database and hold
 * anything. Ports, switches and nodes are sorted by name.
 */

/** `GET api/topology`: changes when the databases or the nodes' state do. */
export interface Topology {
  /** Of the controller. */
  readonly version: string;
  readonly databases: readonly DatabaseState[];
  readonly nodes: readonly TopologyNode[];
  readonly switches: readonly TopologySwitch[];
  readonly ports: readonly TopologyPort[];
}

export interface DatabaseState {
  /** "OVN_Northbound" */
  readonly database: string;
  /** "connected", "connecting", "backing off"; in the latter two the page shows what was last read. */
  readonly state: string;
  readonly since: number;
  readonly error: string;
}

export interface TopologyNode {
  /** Chassis.name */
  readonly name: string;
  readonly hostname: string;
  /** "iovn": an agent of ours; "ovn": a vanilla ovn-controller, of which no more is known than its rows say. */
  readonly kind: 'iovn' | 'ovn';
  readonly connected: boolean;
  /** Connected or disconnected since; 0 = not seen since the controller started. */
  readonly since: number;
  readonly agent_version: string;
  readonly tunnel_ips: readonly string[];
  /** What it could not apply or register, one sentence each. */
  readonly problems: readonly string[];
  readonly tunnels: readonly TopologyTunnel[];
}

/** A tunnel as the node has it; the other end has one of its own. */
export interface TopologyTunnel {
  /** Chassis.name */
  readonly to: string;
  readonly type: string;
  readonly local_ip: string;
  readonly remote_ip: string;
  readonly interface: string;
  /** Longest inner IP packet, bytes. */
  readonly mtu: number;
}

export interface TopologySwitch {
  /** Logical_Switch uuid; names need not be unique. */
  readonly uuid: string;
  readonly name: string;
  /** external_ids:neutron:network_name, or ''. */
  readonly neutron_name: string;
}

/**
 * - up: in place, nothing known to be wrong
 * - pending: on its way
 * - problem: `problems` says what keeps it from working
 * - unplugged: no interface has its name as iface-id
 * - disabled: enabled=false
 * - node_gone: up or not when its node was last heard
 * - unsupported: of a type that the data plane does not do
 */
export type PortState = 'up' | 'pending' | 'problem' | 'unplugged' | 'disabled' | 'node_gone' | 'unsupported';

export interface TopologyPort {
  /** Logical_Switch_Port.name, unique. */
  readonly name: string;
  readonly uuid: string;
  /** external_ids:neutron:port_name, or ''. */
  readonly neutron_name: string;
  /** TopologySwitch.uuid */
  readonly switch: string;
  /** Logical_Switch_Port.type, '' for a VM's. */
  readonly type: string;
  /** Chassis.name; '' when it is bound to none. */
  readonly node: string;
  readonly additional_nodes: readonly string[];
  readonly interface: string;
  readonly state: PortState;
  readonly problems: readonly string[];
  /** As in the database: "MAC IP IP…". */
  readonly addresses: readonly string[];
}

/** `GET api/live`: what the nodes' counters say, asked of them only while somebody looks. */
export interface Live {
  /** When this was put together. */
  readonly at: number;
  /** Nodes with our agent, connected or not. */
  readonly nodes: readonly LiveNode[];
  /** Ports with traffic or drops between the last two readings of their node; any other port of a measured node had none. */
  readonly ports: readonly LivePort[];
  /** All drops by reason, the busiest first. */
  readonly reasons: readonly LiveReason[];
  /** By port and reason, the busiest first, 500 at most. */
  readonly drops: readonly LiveDrop[];
  readonly drops_left_out: number;
}

export interface LiveNode {
  readonly name: string;
  /** When the node last answered; 0 = not yet. */
  readonly at: number;
  /** Seconds between the readings of which the rates are made; 0 = only one so far. */
  readonly seconds: number;
  /** Why it does not answer; '' when it does. */
  readonly error: string;
}

/** Per second. */
export interface LivePort {
  readonly name: string;
  readonly node: string;
  readonly from_vm_packets: number;
  readonly from_vm_bytes: number;
  readonly to_vm_packets: number;
  readonly to_vm_bytes: number;
  readonly dropped_packets: number;
}

export interface LiveReason {
  /** As in docs/drop-reasons.md. */
  readonly reason: string;
  readonly text: string;
  readonly packets: number;
  readonly per_second: number;
}

export interface LiveDrop {
  readonly node: string;
  /** '' when no port is known. */
  readonly port: string;
  readonly reason: string;
  /** "from port", "to port" or ''. */
  readonly direction: string;
  /** Since the port came to the node. */
  readonly packets: number;
  readonly per_second: number;
  /** 0 = not seen by this agent. */
  readonly last_seen: number;
}

/** An answer other than 200 has this body. */
export interface ApiError {
  readonly error: string;
}
