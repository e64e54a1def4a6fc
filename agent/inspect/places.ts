import type { SwitchIntent } from '../intent.js';
import type { Links } from '../links.js';
import type { PluggedPort } from '../modules/io-module.js';
import type { ReconcilerView } from '../reconciler.js';

/** A port of this node with the switch that it belongs to. */
export interface Place {
  readonly plugged: PluggedPort;
  readonly owner: SwitchIntent | undefined;
}

/** Finds ports and interfaces by the numbers that the data plane knows them by, as they are at the moment. */
export class Places {
  readonly #view: () => ReconcilerView | undefined;
  readonly #links: () => Links;
  #indexed: readonly PluggedPort[] | undefined;
  #bySlot: ReadonlyMap<number, PluggedPort> = new Map();

  constructor(view: () => ReconcilerView | undefined, links: () => Links) {
    this.#view = view;
    this.#links = links;
  }

  /** By slot, ascending. */
  all(): readonly Place[] {
    return (this.#view()?.plugged ?? []).map((plugged) => this.#place(plugged));
  }

  bySlot(slot: number): Place | undefined {
    const plugged = this.#view()?.plugged ?? [];
    if (plugged !== this.#indexed) {
      this.#indexed = plugged;
      this.#bySlot = new Map(plugged.map((each) => [each.slot, each]));
    }
    const found = this.#bySlot.get(slot);
    return found === undefined ? undefined : this.#place(found);
  }

  byKeys(datapathKey: number, portKey: number): Place | undefined {
    return this.all().find(
      ({ plugged }) => plugged.datapathKey === datapathKey && plugged.port.portKey === portKey,
    );
  }

  /** Its name, or its number when there is no such interface. */
  interfaceName(ifindex: number): string {
    for (const link of this.#links().values()) if (link.ifindex === ifindex) return link.name;
    return `#${ifindex}`;
  }

  #place(plugged: PluggedPort): Place {
    return { plugged, owner: this.#view()?.intent?.switches.get(plugged.port.switchId) };
  }
}
