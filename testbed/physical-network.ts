import type { NetworkNamespace } from './namespace.js';
import type { Testbed } from './testbed.js';

const bridge = 'lan';

export interface OutsideHost {
  readonly name: string;
  readonly mac: string;
  /** Without the prefix length. */
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

/** A network outside of OVN: a switch that learns and lets tags pass, to which uplinks and other hosts are connected. */
export class PhysicalNetwork {
  readonly #bed: Testbed;
  readonly #switch: NetworkNamespace;

  private constructor(bed: Testbed, namespace: NetworkNamespace) {
    this.#bed = bed;
    this.#switch = namespace;
  }

  static async create(bed: Testbed): Promise<PhysicalNetwork> {
    const namespace = await bed.namespace('lan');
    await namespace.ip('link', 'add', bridge, 'type', 'bridge');
    await namespace.ip('link', 'set', bridge, 'up');
    return new PhysicalNetwork(bed, namespace);
  }

  /** A host that knows nothing of OVN. */
  async addHost(label: string, ip: string): Promise<OutsideHost> {
    const namespace = await this.#bed.namespace(label);
    await this.connect(namespace, 'eth0');
    await namespace.ip('addr', 'add', ip, 'dev', 'eth0');
    const mac = await macOf(namespace);
    return { name: label, mac, address: ip.replace(/\/.*/, ''), namespace };
  }

  /** Gives a namespace a network card there. */
  async connect(namespace: NetworkNamespace, card: string): Promise<void> {
    const port = `p${namespace.name.split('-').slice(3).join('-')}-${card}`.slice(0, 15);
    await namespace.ip(
      ...['link', 'add', card, 'type', 'veth', 'peer', 'name', port, 'netns', this.#switch.name],
    );
    await this.#switch.ip('link', 'set', port, 'master', bridge, 'up');
    await namespace.ip('link', 'set', card, 'up');
  }
}

async function macOf(namespace: NetworkNamespace): Promise<string> {
  const links = await namespace.ip('-br', 'link', 'show', 'dev', 'eth0');
  return links.trim().split(/\s+/)[2] ?? '';
}
