import { createHash } from 'node:crypto';

import { type Mac, parseMac } from '../../common/addresses.js';
import type { Link, Links } from '../links.js';
import type { InterfaceRow } from './tables.js';
import { isLocalInterface, type Topology } from './topology.js';

const attachEndPattern = /^iovn-[0-9a-f]{10}$/;

/**
 * The name of the end that stays with the agent for an Interface of type internal. It depends on the Interface's
 * name only, so the pair is found again after the user's end went into another namespace or got another name.
 */
export function attachEndName(interfaceName: string): string {
  return `iovn-${createHash('sha256').update(interfaceName).digest('hex').slice(0, 10)}`;
}

/** Whether a device is an agent's end of a pair made for an Interface of type internal. */
export function isAttachEnd(deviceName: string): boolean {
  return attachEndPattern.test(deviceName);
}

export interface NewPair {
  readonly name: string;
  readonly attachEnd: string;
  /** Of the user's end, where Interface.mac asks for one; it is the user's to change later. */
  readonly mac: Mac | undefined;
}

export interface InternalDevicePlan {
  readonly create: readonly NewPair[];
  /** Attach ends that are down; the user's end is the user's to set up. */
  readonly setUp: readonly Link[];
  /** Attach ends whose Interface is gone; the user's end goes with them. */
  readonly remove: readonly Link[];
}

/** What to do so that every Interface of type internal has its veth pair, and nothing else has one. */
export function planInternalDevices(topology: Topology, links: Links): InternalDevicePlan {
  const wanted = new Map<string, InterfaceRow>();
  for (const { bridge, interfaces } of topology.bridges) {
    for (const row of interfaces) {
      if (row.type === 'internal' && !isLocalInterface(bridge, row)) wanted.set(attachEndName(row.name), row);
    }
  }
  const present = [...links.values()].filter(({ name }) => isAttachEnd(name));
  return {
    create: [...wanted]
      .filter(([attachEnd, { name }]) => !links.has(attachEnd) && !links.has(name))
      .map(([attachEnd, { name, mac }]) => ({ name, attachEnd, mac: parseMac(mac ?? '') })),
    setUp: present.filter(({ name, adminUp }) => wanted.has(name) && !adminUp),
    remove: present.filter(({ name }) => !wanted.has(name)),
  };
}
