import { type Case, known, type Part } from './cases.js';
import { allBits, fields, formatValue } from './fields.js';
import { Expression, inport } from './expression.js';

/** One packet, and where it enters the network. */
export interface Microflow {
  /** Logical_Switch_Port.name */
  readonly inport: string;
  /** Header fields that were said or follow from it; all others, and bits that were not said, are zero, as in ovn-trace(8). */
  readonly values: ReadonlyMap<string, bigint>;
}

const tagPresent = 1n << 12n;
export const fragment = { any: 1n, later: 2n } as const;
/** Behind the IP header: only the first fragment has them. */
const upperLayer = /^(tcp|udp|sctp|icmp4|icmp6|nd)\./;
const hints: readonly { readonly field: string; readonly values: readonly bigint[]; readonly say: string }[] =
  [
    { field: 'eth.type', values: [0x800n, 0x86ddn], say: 'say also whether it is ip4 or ip6' },
    { field: 'icmp6.type', values: [135n, 136n], say: 'say also whether it is nd_ns or nd_na' },
  ];

/**
 * Reads what ovn-trace(8) takes: an expression of which one packet is left. Throws IovnError 'microflow' with the expression
 * and a caret under what is wrong.
 */
export function parseMicroflow(text: string): Microflow {
  const expression: Expression = new Expression(text);
  const { cases, conflict } = expression.read();
  const describe = (part: Part): string => describePart(part, expression);
  const [first, second] = cases;
  if (first === undefined) {
    if (conflict === undefined) expression.fail(expression.end, 'no packet is like this');
    expression.fail(
      conflict.second.said,
      `${conflict.second.said.text} needs ${describe(conflict.second)}, but ${conflict.first.said.text} says ${describe(conflict.first)}`,
    );
  }
  if (second !== undefined) failAmbiguous(expression, first, second);
  const values = known(first);
  const port = values.get(inport);
  if (port === undefined)
    expression.fail(expression.end, 'the packet needs a port to come from: inport == "PORT"');
  const checked = new Map(Array.from(values, ([name, { value }]) => [name, value] as const));
  checked.delete(inport);
  checkTag(expression, first, checked);
  checkFragment(expression, first, checked);
  return { inport: expression.portName(port.value), values: checked };
}

/** A field in which the two differ, and who said so. */
function failAmbiguous(expression: Expression, first: Case, second: Case): never {
  const [one, other] = [known(first), known(second)];
  const differing = [...second, ...first].filter(({ field }) => {
    const [a, b] = [one.get(field), other.get(field)];
    return a?.mask !== b?.mask || a?.value !== b?.value;
  });
  const inBoth = differing.find(({ field }) => one.has(field) && other.has(field));
  const part = inBoth ?? differing[0];
  if (part === undefined) throw new Error('two cases are the same');
  const { said, field } = part;
  if (field === inport) expression.fail(said, 'from which port the packet comes is left open');
  if (inBoth === undefined)
    expression.fail(
      said,
      `whether ${describePart(part, expression)} is left open: that is more than one packet`,
    );
  const values = [one.get(field)?.value ?? 0n, other.get(field)?.value ?? 0n];
  const hint = hints.find(
    (each) => each.field === field && values.every((value) => each.values.includes(value)),
  );
  expression.fail(
    said,
    `${said.text} leaves open what ${field} is: ${hint?.say ?? 'that is more than one packet'}`,
  );
}

function describePart({ field, mask, value }: Part, expression: Expression): string {
  if (field === inport) return `${inport} == ${JSON.stringify(expression.portName(value))}`;
  const { bits = 0 } = fields.get(field) ?? {};
  const all = allBits(bits);
  if (mask === all) return `${field} == ${formatValue(field, value)}`;
  let lowest = 0;
  while (((mask >> BigInt(lowest)) & 1n) === 0n) lowest += 1;
  const length = mask.toString(2).length - lowest;
  const range = length === 1 ? `${lowest}` : `${lowest}..${lowest + length - 1}`;
  return `${field}[${range}] == ${value >> BigInt(lowest)}`;
}

function saidOf(parts: Case, isMeant: (part: Part) => boolean): Part | undefined {
  return parts.find(isMeant);
}

/** A tag is in a frame or not. */
function checkTag(expression: Expression, parts: Case, values: ReadonlyMap<string, bigint>): void {
  const tci = values.get('vlan.tci') ?? 0n;
  const part = saidOf(parts, ({ field, value }) => field === 'vlan.tci' && value !== 0n);
  if (tci === 0n || (tci & tagPresent) !== 0n || part === undefined) return;
  expression.fail(part.said, 'a frame without a tag has no VLAN: say also vlan.present');
}

/** A later fragment is a fragment, and has nothing of the layers above. */
function checkFragment(expression: Expression, parts: Case, values: Map<string, bigint>): void {
  const kind = values.get('ip.frag') ?? 0n;
  if ((kind & fragment.later) === 0n) return;
  const not = saidOf(
    parts,
    ({ field, mask, value }) => field === 'ip.frag' && (mask & fragment.any & ~value) !== 0n,
  );
  if (not !== undefined) expression.fail(not.said, 'a later fragment is a fragment, too');
  const above = saidOf(parts, ({ field, value }) => upperLayer.test(field) && value !== 0n);
  if (above !== undefined) expression.fail(above.said, `a later fragment has no ${above.field}`);
  values.set('ip.frag', kind | fragment.any);
}
