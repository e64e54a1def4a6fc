import type { Chassis } from '../generated/proto/iovn/v1/Chassis.js';
import type { Interface } from '../generated/proto/iovn/v1/Interface.js';
import type { ChassisConfig } from './sb-operations.js';

/** What an agent may send at most. */
export const limits = {
  interfaces: 16_384,
  /** As many as there are VLANs. */
  nestedPorts: 4095,
  nameLength: 255,
  encaps: 64,
  configPairs: 256,
  configBytes: 65_536,
  resourceErrors: 16_384,
  mapUsages: 64,
  learnedMacs: 1000,
};

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/** A chassis as an agent describes it, or why it can't be one. */
export function checkChassis(chassis: Chassis | null | undefined): Checked<ChassisConfig> {
  if (!chassis) return bad('the message names no chassis');
  const { name, hostname, encaps, other_config: pairs, transport_zones: zones } = chassis;
  if (name === '') return bad('the chassis has no name (system-id)');
  if (!isPlain(name))
    return bad(`the chassis name is longer than ${limits.nameLength} bytes or not printable`);
  if (!isPlain(hostname)) return bad('the hostname is too long or not printable');
  if (encaps.length === 0) return bad('the chassis has no tunnel endpoint (ovn-encap-type, ovn-encap-ip)');
  if (encaps.length > limits.encaps) return bad(`more than ${limits.encaps} tunnel endpoints`);
  if (Object.keys(pairs).length > limits.configPairs) return bad('too many keys in other_config');
  if (JSON.stringify(pairs).length > limits.configBytes) return bad('other_config is too long');
  if (zones.length > limits.configPairs || !zones.every(isPlain))
    return bad('transport zones are too many or too long');
  return {
    ok: true,
    value: {
      name,
      hostname,
      encaps: encaps.map(({ type, ip, options }) => ({
        type,
        ip,
        options: new Map(Object.entries(options)),
      })),
      otherConfig: new Map(Object.entries(pairs)),
      transportZones: zones,
    },
  };
}

/** The interfaces of a node, or why the message can't be used. */
export function checkInterfaces(interfaces: readonly Interface[]): Checked<readonly Interface[]> {
  if (interfaces.length > limits.interfaces) {
    return bad(`${interfaces.length} interfaces, more than ${limits.interfaces}`);
  }
  for (const { name, iface_id: id, encap_ip: ip, nested } of interfaces) {
    if (!isPlain(name) || name === '') return bad('an interface name is empty, too long or not printable');
    if (id.length > 1024) return bad(`the iface-id of interface ${name} is too long`);
    if (nested.length > limits.nestedPorts)
      return bad(`more than ${limits.nestedPorts} ports nested in ${id}`);
    if (ip.length > 1024) return bad(`the encap-ip of interface ${name} is too long`);
  }
  return { ok: true, value: interfaces };
}

/** Whether two reports of an interface say the same. */
export function sameInterface(a: Interface | undefined, b: Interface | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.name === b.name &&
    a.iface_id === b.iface_id &&
    a.ifindex === b.ifindex &&
    a.iface_id_ver === b.iface_id_ver &&
    a.encap_ip === b.encap_ip &&
    a.error === b.error &&
    a.installed_binding === b.installed_binding &&
    a.install_error === b.install_error &&
    a.activated_binding === b.activated_binding &&
    a.role === b.role &&
    sameNested(a.nested, b.nested)
  );
}

function sameNested(a: Interface['nested'], b: Interface['nested']): boolean {
  return (
    a.length === b.length &&
    a.every(({ binding, install_error: error }, index) => {
      const other = b[index];
      return binding === other?.binding && error === other.install_error;
    })
  );
}

/** Printable and of bounded length. */
function isPlain(text: string): boolean {
  return Buffer.byteLength(text) <= limits.nameLength && !/\p{Cc}/u.test(text);
}

function bad(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
