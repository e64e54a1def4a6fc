import type { LogControl } from '../../common/log.js';
import type { SupportFile } from '../../common/support-files.js';
import { dropReasons } from '../../generated/bpf/layouts.js';
import type { NodeQuery } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';
import type { Update } from '../../generated/proto/iovn/v1/Update.js';
import { DropHistory } from '../drops/drop-history.js';
import type { DropSample } from '../drops/drop-source.js';
import { describePacket } from '../drops/packet-text.js';
import type { LearningPlane, MacEvent } from '../fdb/fdb-table.js';
import type { Devices } from '../links.js';
import type { Observer, ReconcilerView } from '../reconciler.js';
import type { IntentSourceStatus } from '../session.js';
import { EventFeed, type EventType, type FeedEvent } from './event-feed.js';
import { type InspectedPlane, Inspection } from './inspection.js';
import { intentChanges } from './intent-changes.js';
import { linkChanges, linkStates, type LinkStates } from './link-changes.js';
import { Places } from './places.js';

export interface NodeInspectionOptions {
  readonly dataPlane: InspectedPlane;
  readonly devices: Pick<Devices, 'links' | 'onChange'>;
  readonly view: () => ReconcilerView | undefined;
  readonly controller: () => IntentSourceStatus;
  /** State of the connection to the local database, '' where there is none. */
  readonly databaseState: () => string;
  /** Epoch ms. */
  readonly now: () => number;
  readonly log: LogControl;
  readonly supportFiles: readonly SupportFile[];
}

/** Listens to the parts of an agent for as long as it lives, remembers drops, and tells whoever asks. */
export class NodeInspection {
  readonly #options: NodeInspectionOptions;
  readonly #places: Places;
  readonly #history: DropHistory;
  readonly #feed = new EventFeed();
  readonly #inspection: Inspection;
  #linkStates: LinkStates;

  constructor(options: NodeInspectionOptions) {
    const { dataPlane, devices, view, now } = options;
    this.#options = options;
    this.#places = new Places(view, () => devices.links);
    this.#history = new DropHistory({
      places: this.#places,
      readCounters: (slots) => dataPlane.readCounters(slots),
      now,
    });
    this.#inspection = new Inspection({
      ...options,
      places: this.#places,
      history: this.#history,
      feed: this.#feed,
    });
    this.#linkStates = linkStates(devices.links);
    devices.onChange(() => this.#linksChanged());
    dataPlane.onDrop((sample) => this.#dropped(sample));
  }

  ask(query: NodeQuery, signal: AbortSignal): AsyncIterable<NodeReplyInput> {
    return this.#inspection.answer(query, signal);
  }

  /** The plane, with its events told here, too. */
  watched(plane: LearningPlane): LearningPlane {
    return {
      fdb: plane.fdb,
      watchEvents: (onEvent, signal) =>
        plane.watchEvents((event) => {
          this.#learned(event);
          onEvent(event);
        }, signal),
    };
  }

  /** The observer, with what it observes told here, too. */
  observed(observer: Observer): Observer {
    return {
      ...observer,
      applied: (seconds) => {
        observer.applied(seconds);
        const text = `applied in ${(seconds * 1000).toFixed(1)} ms`;
        this.#feed.publish(() => this.#event('applied', { text }));
      },
    };
  }

  intentChanged(update: Update): void {
    for (const { port = '', text } of intentChanges(update))
      this.#feed.publish(() => this.#event('intent', { port, text }));
  }

  #dropped(sample: DropSample): void {
    this.#history.take(sample);
    this.#feed.publish(() => {
      const drop = this.#history.describe(sample);
      if (drop === undefined) return undefined;
      const text = `${dropReasons[sample.reason]?.name ?? ''}: ${describePacket(sample.head, sample.length)}`;
      const { port = '', switch: owner = '', interface: device = '' } = drop;
      return this.#event('drop', { port, switch: owner, interface: device, text, drop });
    });
  }

  #learned({ datapathKey, portKey, mac }: MacEvent): void {
    this.#feed.publish(() => {
      const place = this.#places.byKeys(datapathKey, portKey);
      return this.#event('mac', {
        port: place?.plugged.port.name ?? '',
        switch: place?.owner?.name ?? '',
        interface: place?.plugged.interfaceName ?? '',
        text: `learnt ${mac}`,
      });
    });
  }

  #linksChanged(): void {
    const states = linkStates(this.#options.devices.links);
    for (const { name, text } of linkChanges(this.#linkStates, states)) {
      this.#feed.publish(() => {
        const place = this.#places.all().find(({ plugged }) => plugged.device.name === name);
        return this.#event('link', { port: place?.plugged.port.name ?? '', interface: name, text });
      });
    }
    this.#linkStates = states;
  }

  #event(type: EventType, fields: Partial<FeedEvent>): FeedEvent {
    return { ...fields, type, at: this.#options.now() / 1000 };
  }
}
