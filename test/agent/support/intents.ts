import { macBytes, parseIpPrefix, parseMac } from '../../../common/addresses.js';
import { v1 } from '../../../common/proto.js';
import type { PortInput } from '../../../generated/proto/iovn/v1/Port.js';
import type { Resource } from '../../../generated/proto/iovn/v1/Resource.js';
import type { Update } from '../../../generated/proto/iovn/v1/Update.js';
import { applyUpdate, emptyIntent, type Intent } from '../../../agent/intent.js';

export const chassisName = 'hv1';

export function mac(text: string): Buffer {
  const parsed = parseMac(text);
  if (parsed === undefined) throw new Error(`not a MAC: ${text}`);
  return Buffer.from(macBytes(parsed));
}

/** `MAC ADDRESS…`, as in Logical_Switch_Port.port_security. */
export function portSecurityEntry(text: string): NonNullable<PortInput['port_security']>[number] {
  const [first = '', ...addresses] = text.split(' ');
  return {
    mac: mac(first),
    addresses: addresses.map((each) => {
      const prefix = parseIpPrefix(each);
      if (prefix === undefined) throw new Error(`not a prefix: ${each}`);
      return { address: Buffer.from(prefix.address), prefix_length: prefix.prefixLength };
    }),
  };
}

export function switchResource(id: string, datapathKey: number, name = id): Resource {
  const body = v1.Switch.serialize({ name, datapath_key: datapathKey });
  return { id: { kind: 'Switch', name: id }, body };
}

/** A port of switch `sw0` that is bound here, enabled and in the flood group unless said otherwise. */
export function portResource(name: string, portKey: number, parts: PortInput = {}): Resource {
  const body = v1.Port.serialize({
    switch: 'sw0',
    port_key: portKey,
    enabled: true,
    macs: [mac(`02:00:00:00:00:${(portKey % 256).toString(16).padStart(2, '0')}`)],
    multicast_groups: [32768],
    chassis: chassisName,
    binding: `binding-${name}`,
    ...parts,
  });
  return { id: { kind: 'Port', name }, body };
}

/** Another chassis, with one Geneve endpoint. */
export function chassisResource(name: string, ip: string): Resource {
  const body = v1.RemoteChassis.serialize({ encaps: [{ type: 'geneve', ip, options: {} }] });
  return { id: { kind: 'Chassis', name }, body };
}

export function makeUpdate(changed: readonly Resource[], parts: Partial<Update> = {}): Update {
  return { generation: '1', nb_cfg: '0', snapshot: true, changed: [...changed], removed: [], ...parts };
}

export function makeIntent(...changed: readonly Resource[]): Intent {
  return applyUpdate(emptyIntent, makeUpdate(changed));
}
