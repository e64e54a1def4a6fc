import { IovnError } from '../../common/errors.js';
import { nearest } from '../../inspect/nearest.js';
import { type Field, fields, kindNames, parseConstant, predicates } from './fields.js';

/** One packet, and where it enters the network. */
export interface Microflow {
  /** Logical_Switch_Port.name */
  readonly inport: string;
  /** Those that were said or follow from it; all others are zero, as in ovn-trace(8). */
  readonly values: ReadonlyMap<string, Uint8Array>;
}

interface Token {
  readonly text: string;
  /** Characters before it. */
  readonly at: number;
}

interface Term {
  readonly value: string;
  /** Of the term that says so. */
  readonly token: Token;
  readonly because: string;
}

const tokenPattern = /\s*("(?:[^"\\]|\\.)*"|&&|\|\||[=!<>]=|[!<>(){},]|\$?[A-Za-z0-9_.:/-]+|\S)/gy;
const comparisons = ['==', '!=', '<', '<=', '>', '>='];
const ipProtocols: ReadonlyMap<string, string> = new Map([
  ['1', 'ip4'],
  ['58', 'ip6'],
]);
const ipFields = ['ip.proto', 'ip.ttl', 'ip.dscp', 'ip.ecn'];

/**
 * Reads what ovn-trace(8) takes: a conjunction of equalities and predicates that determines one packet. Throws
 * IovnError 'microflow' with the expression and a caret under what is wrong.
 */
export function parseMicroflow(text: string): Microflow {
  return new MicroflowParser(text).parse();
}

class MicroflowParser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;
  #inport: string | undefined;
  readonly #terms = new Map<string, Term>();
  /** The first term that is about IP of either version. */
  #ip: Token | undefined;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = Array.from(text.matchAll(tokenPattern), (match) => {
      const token = match[1] ?? '';
      return { text: token, at: match.index + match[0].length - token.length };
    });
  }

  parse(): Microflow {
    this.#conjunction();
    const rest = this.#peek();
    if (rest !== undefined) this.#fail(rest, `'&&' is expected here`);
    if (this.#inport === undefined)
      this.#fail(this.#end(), 'the packet needs a port to come from: inport == "PORT"');
    this.#requireIpVersion();
    const values = new Map<string, Uint8Array>();
    for (const [name, { value }] of this.#terms) {
      const field = fields.get(name);
      const bytes = field && parseConstant(field, value);
      if (bytes !== undefined) values.set(name, bytes);
    }
    this.#requireNeighbourDiscovery();
    return { inport: this.#inport, values };
  }

  #conjunction(): void {
    for (;;) {
      this.#term();
      const token = this.#peek();
      if (token?.text === '||')
        this.#fail(token, `a packet is one thing or the other: '||' does not say which`);
      if (token?.text !== '&&') return;
      this.#next += 1;
    }
  }

  #term(): void {
    const token = this.#take();
    if (token.text === '(') {
      this.#conjunction();
      const end = this.#take();
      if (end.text !== ')') this.#fail(end, `')' is expected here`);
      return;
    }
    if (token.text === '!') this.#fail(token, 'what a packet is not does not say what it is');
    const operator = this.#peek();
    if (operator !== undefined && comparisons.includes(operator.text)) this.#comparison(token, operator);
    else this.#predicate(token);
  }

  #comparison(left: Token, operator: Token): void {
    this.#next += 1;
    if (operator.text !== '==') this.#fail(operator, `only '==' determines a packet`);
    const right = this.#take();
    if (right.text === '{') this.#fail(right, 'a set of values does not determine a packet');
    if (right.text.startsWith('$')) this.#fail(right, 'an address set does not determine a packet');
    /* OVN lets the constant come first, too. */
    const reversed =
      !fields.has(left.text) && left.text !== 'inport' && (fields.has(right.text) || right.text === 'inport');
    const [name, constant] = reversed ? [right, left] : [left, right];
    if (name.text === 'inport') this.#comesFrom(constant);
    else this.#equals(name, constant);
  }

  #comesFrom(constant: Token): void {
    if (!constant.text.startsWith('"')) this.#fail(constant, 'the name of a port stands in quotation marks');
    const port = constant.text.slice(1, -1).replace(/\\(.)/g, '$1');
    if (this.#inport !== undefined && this.#inport !== port)
      this.#fail(constant, `the packet comes from "${this.#inport}" already`);
    this.#inport = port;
  }

  #equals(name: Token, constant: Token): void {
    const field = this.#fieldOf(name);
    if (constant.text.includes('/')) this.#fail(constant, 'a masked value does not determine a packet');
    if (parseConstant(field, constant.text) === undefined) {
      const limit = field.kind === 'number' ? ` of ${field.bits} bits` : '';
      this.#fail(constant, `${name.text} is ${kindNames[field.kind]}${limit}`);
    }
    this.#set(name.text, constant.text, name, name.text);
    for (const [implied, value] of field.implies) this.#set(implied, value, name, name.text);
    if (ipFields.includes(name.text)) this.#ip ??= name;
  }

  #predicate(token: Token): void {
    const implied = predicates.get(token.text);
    if (implied === undefined) {
      if (fields.has(token.text) || token.text === 'inport')
        this.#fail(this.#peek() ?? this.#end(), `'==' is expected after ${token.text}`);
      this.#fieldOf(token);
    }
    for (const [name, value] of implied ?? []) {
      /* vlan.present beside vlan.vid adds nothing. */
      if (token.text === 'vlan.present' && this.#terms.has(name)) continue;
      this.#set(name, value, token, token.text);
    }
    if (token.text === 'ip') this.#ip ??= token;
  }

  #fieldOf(token: Token): Field {
    const field = fields.get(token.text);
    if (field !== undefined) return field;
    const candidate = nearest(token.text, [...fields.keys(), ...predicates.keys(), 'inport']);
    const hint = candidate === undefined ? '' : `; did you mean ${candidate}?`;
    return this.#fail(token, `${token.text} is no field of a packet${hint}`);
  }

  #set(name: string, value: string, token: Token, because: string): void {
    const field = fields.get(name);
    const before = this.#terms.get(name);
    const isReplaced = before?.because === 'vlan.present';
    if (field !== undefined && before !== undefined && !isReplaced) {
      const same = Buffer.compare(
        parseConstant(field, before.value) ?? Buffer.alloc(0),
        parseConstant(field, value) ?? Buffer.alloc(0),
      );
      if (same !== 0)
        this.#fail(token, `${because} needs ${name} == ${value}, but ${before.because} says ${before.value}`);
      return;
    }
    this.#terms.set(name, { value, token, because });
    if (ipFields.includes(name)) this.#ip ??= token;
  }

  /** `tcp` and `ip.ttl` are of both versions: one must be said, or follow from the protocol. */
  #requireIpVersion(): void {
    const type = this.#terms.get('eth.type')?.value;
    const token = this.#ip;
    if (token === undefined) return;
    if (type === undefined) {
      const protocol = this.#terms.get('ip.proto')?.value ?? '';
      const version = ipProtocols.get(protocol);
      if (version === undefined) this.#fail(token, 'say also whether it is ip4 or ip6');
      this.#set('eth.type', version === 'ip4' ? '0x800' : '0x86dd', token, version);
    } else if (![0x800, 0x86dd].includes(Number(type))) {
      this.#fail(token, `this is of IP packets, but eth.type is ${type}`);
    }
  }

  #requireNeighbourDiscovery(): void {
    const term = [...this.#terms.values()].find(({ because }) => because === 'nd' || because === 'nd.target');
    if (term !== undefined && !this.#terms.has('icmp6.type'))
      this.#fail(term.token, 'say also whether it is nd_ns or nd_na');
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #end(): Token {
    return { text: '', at: this.#text.trimEnd().length };
  }

  #take(): Token {
    const token = this.#peek();
    if (token === undefined) return this.#fail(this.#end(), 'the expression ends too early');
    this.#next += 1;
    return token;
  }

  #fail({ at }: Token, problem: string): never {
    const message = `${problem}\n  ${this.#text}\n  ${' '.repeat(at)}^`;
    throw new IovnError('microflow', message, { position: at });
  }
}
