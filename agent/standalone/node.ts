import type { Devices, Link, Links } from '../links.js';
import type { LocalNode, NodeState } from '../local-node.js';
import type { Uplink } from '../vswitch/bridge-mappings.js';
import type { VifInterface } from '../vswitch/interfaces.js';
import type { StandaloneFile } from './file.js';

function deviceOrError(links: Links, name: string): { readonly device: Link } | { readonly error: string } {
  const device = links.get(name);
  return device === undefined ? { error: `there is no network device ${name}` } : { device };
}

function vifs({ switches }: StandaloneFile, links: Links): readonly VifInterface[] {
  return switches
    .flatMap(({ ports = [] }) => ports)
    .flatMap(({ name: ifaceId, interface: name }): readonly VifInterface[] => {
      if (name === undefined) return [];
      const found = deviceOrError(links, name);
      const common = { name, ifaceId, ifaceIdVer: '', encapIp: '' };
      return 'device' in found
        ? [{ ...common, device: found.device, error: undefined }]
        : [{ ...common, device: undefined, error: found.error }];
    });
}

function uplinks({ switches }: StandaloneFile, links: Links): ReadonlyMap<string, Uplink> {
  const names = switches
    .flatMap(({ ports = [] }) => ports)
    .flatMap(({ localnet }) => (localnet === undefined ? [] : [localnet.interface]));
  return new Map(names.map((name) => [name, deviceOrError(links, name)]));
}

export interface StandaloneNodeOptions {
  /** Chassis name and hostname. */
  readonly name: string;
  readonly devices: Devices;
  /** What is in force. */
  readonly file: () => StandaloneFile;
  /** Why the file as it is now is not in force. */
  readonly problem: () => string | undefined;
  readonly onChange: (listener: () => void) => () => void;
}

/** A hypervisor as a file describes it. */
export class StandaloneNode implements LocalNode {
  readonly actsForVswitchd = false;
  readonly #options: StandaloneNodeOptions;

  constructor(options: StandaloneNodeOptions) {
    this.#options = options;
  }

  onChange(listener: () => void): () => void {
    return this.#options.onChange(listener);
  }

  read(): NodeState {
    const { name, devices, file, problem } = this.#options;
    devices.refresh();
    const content = file();
    const chassis = { name, hostname: name, encaps: [], otherConfig: {}, transportZones: [] };
    return {
      config: { chassis, controller: undefined, problem: problem(), warnings: [] },
      interfaces: vifs(content, devices.links),
      uplinks: uplinks(content, devices.links),
      deviceProblems: new Map(),
    };
  }

  /** Nobody waits for an answer. */
  report(): Promise<boolean> {
    return Promise.resolve(true);
  }
}
