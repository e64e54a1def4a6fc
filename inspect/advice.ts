import type { Drop } from '../generated/proto/iovn/v1/Drop.js';

type Subject = Pick<Drop, 'port' | 'switch' | 'reason'>;

/** What an operator can do, by the beginning of the reason's name. */
const advice: readonly (readonly [prefix: string, text: (subject: Subject) => string])[] = [
  [
    'egress_port_security_',
    ({ port }) => `others send to an address that ${port} does not list; see ${setPortSecurity(port)}`,
  ],
  [
    'port_security_',
    ({ port }) =>
      `compare the last packet with the port security of ${port}: change the VM's address, or ${setPortSecurity(port)}`,
  ],
  ['malformed_', () => 'the sender makes broken packets: look at its network stack, or at who rewrites them'],
  ['port_disabled', enable],
  ['egress_port_disabled', enable],
  [
    'vlan_tagged',
    ({ switch: owner }) =>
      `let the VM send without tags, or ovn-nbctl set Logical_Switch ${owner} other_config:vlan-passthru=true`,
  ],
  [
    'unknown_destination',
    ({ switch: owner }) =>
      `nobody on ${owner} has that MAC: give it to its port (ovn-nbctl lsp-set-addresses), or let a port take "unknown"`,
  ],
  [
    'destination_not_plugged',
    () =>
      'find the receiver among `iovn ports`: it has no interface, or its node can not be reached by tunnel',
  ],
  ['tunnel_too_big', () => "make the VM's MTU smaller, or that of the underlay larger"],
  ['delivery_failed', () => 'see whether the interface is up, and what the kernel counts there: ip -s link'],
];

/** One sentence; empty when there is nothing in particular to be done. */
export function adviceFor(drop: Subject): string {
  const found = advice.find(([prefix]) => drop.reason.startsWith(prefix));
  return found === undefined ? '' : found[1](drop);
}

function setPortSecurity(port: string): string {
  return `ovn-nbctl lsp-set-port-security ${port} …`;
}

function enable({ port }: Subject): string {
  return `ovn-nbctl lsp-set-enabled ${port} enabled`;
}
