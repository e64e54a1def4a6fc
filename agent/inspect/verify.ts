import type { DifferenceInput } from '../../generated/proto/iovn/v1/Difference.js';
import type { TableName } from '../data-plane.js';
import type { Desired } from '../desired.js';
import { type KernelContents, type Operation, plan } from '../plan.js';
import { keyText, valueText } from './table-text.js';

/** Turns numbers of interfaces into names. */
type InterfaceName = (ifindex: number) => string;

/** What the kernel holds against what it should hold: a difference is what the next plan would repair. Pure. */
export function verify(
  wanted: Desired,
  actual: KernelContents,
  interfaceName: InterfaceName,
): { readonly entriesCompared: number; readonly differences: readonly DifferenceInput[] } {
  const compared = [...wanted.tables.values()].reduce((sum, entries) => sum + entries.size, 0);
  return {
    entriesCompared: compared + wanted.attachments.size + wanted.underlay.size,
    differences: plan(wanted, actual).flatMap((operation) =>
      differences(operation, wanted, actual, interfaceName),
    ),
  };
}

function differences(
  operation: Operation,
  wanted: Desired,
  actual: KernelContents,
  interfaceName: InterfaceName,
): readonly DifferenceInput[] {
  switch (operation.kind) {
    case 'write':
      return [...operation.entries.keys()].map((key) =>
        entryDifference(operation.table, key, wanted, actual),
      );
    case 'delete':
      return operation.keys.map((key) => entryDifference(operation.table, key, wanted, actual));
    case 'attach':
      return [{ kind: 'not attached', key: interfaceName(operation.ifindex) }];
    case 'detach':
      return [{ kind: 'attached', key: interfaceName(operation.ifindex) }];
    case 'attach_underlay':
      return [{ kind: 'not attached', key: hookText(operation.hook, interfaceName) }];
    case 'detach_underlay':
      return [{ kind: 'attached', key: hookText(operation.hook, interfaceName) }];
  }
}

function hookText(hook: string, interfaceName: InterfaceName): string {
  const [program = '', ifindex = ''] = hook.split(' ');
  return `${program} at ${interfaceName(Number(ifindex))}`;
}

function entryDifference(
  table: TableName,
  key: string,
  wanted: Desired,
  actual: KernelContents,
): DifferenceInput {
  const shouldBe = wanted.tables.get(table)?.get(key);
  const is = actual.tables.get(table)?.get(key);
  const owner = wanted.owner(table, key);
  return {
    kind: is === undefined ? 'missing' : shouldBe === undefined ? 'unexpected' : 'different',
    map: table,
    key: keyText(table, Buffer.from(key, 'hex')),
    wanted: shouldBe === undefined ? '' : valueText(table, shouldBe),
    actual: is === undefined ? '' : valueText(table, is),
    owner: owner === undefined ? '' : `${owner.kind} ${owner.name}`,
  };
}
