import { IovnError } from '../../common/errors.js';
import { nearest } from '../../inspect/nearest.js';
import {
  and,
  type Cases,
  everything,
  isRelation,
  mirror,
  nothing,
  only,
  opposite,
  or,
  related,
  type Relation,
  TooManyCases,
} from './cases.js';
import {
  allBits,
  type Constant,
  type Field,
  fields,
  kindNames,
  parseConstant,
  predicates,
} from './fields.js';
import { type Token, tokenize } from './tokens.js';

/** The field of a case that holds the name of the port where the packet enters. */
export const inport = 'inport';

const ownSymbols =
  /^(x{0,2}reg\d+|flags(\.\w+)?|ct(\.\w+)?|ct_\w+(\.\w+)?|pkt\.mark|is_chassis_resident|outport)$/;
/** Port names as the numbers that cases are made of. */
const nameBits = 32;

/** A field, or some of its bits, as the expression names it. */
interface Operand {
  readonly name: Token;
  readonly field: Field;
}

/**
 * Reads an expression in the language of ovn-sb(5) Logical_Flow.match. Throws IovnError 'microflow' with the expression and a
 * caret under what is wrong.
 */
export class Expression {
  readonly #text: string;
  readonly #ports: string[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  /** What it means. */
  read(): Cases {
    const reader = new Reader(tokenize(this.#text), this.end, undefined, this.#ports, (token, problem) =>
      this.fail(token, problem),
    );
    return reader.read();
  }

  /** The port that a case has in the place of its number. */
  portName(value: bigint): string {
    return this.#ports[Number(value)] ?? '';
  }

  get end(): Token {
    return { text: '', at: this.#text.trimEnd().length };
  }

  fail({ at }: Token, problem: string): never {
    const message = `${problem}\n  ${this.#text}\n  ${' '.repeat(at)}^`;
    throw new IovnError('microflow', message, { position: at });
  }
}

type Fail = (token: Token, problem: string) => never;

/** A recursive descent. What a predicate stands for is read by another one, for which it `said` everything. */
class Reader {
  readonly #tokens: readonly Token[];
  readonly #end: Token;
  readonly #said: Token | undefined;
  readonly #ports: string[];
  readonly #fail: Fail;
  #next = 0;

  constructor(tokens: readonly Token[], end: Token, said: Token | undefined, ports: string[], fail: Fail) {
    this.#tokens = tokens;
    this.#end = end;
    this.#said = said;
    this.#ports = ports;
    this.#fail = fail;
  }

  read(isNegated = false): Cases {
    const cases = this.#terms(isNegated);
    const rest = this.#peek();
    if (rest !== undefined) this.#fail(rest, `'&&' is expected here`);
    return cases;
  }

  #terms(isNegated: boolean): Cases {
    let cases = this.#term(isNegated);
    let operator: Token | undefined;
    for (;;) {
      const token = this.#peek();
      if (token?.text !== '&&' && token?.text !== '||') return cases;
      if (operator !== undefined && operator.text !== token.text)
        this.#fail(token, `'&&' and '||' together need parentheses`);
      operator = token;
      this.#next += 1;
      const term = this.#term(isNegated);
      const combine = (token.text === '&&') !== isNegated ? and : or;
      cases = this.#counted(token, () => combine(cases, term));
    }
  }

  #term(isNegated: boolean): Cases {
    const token = this.#take();
    if (token.text === '(') {
      const cases = this.#terms(isNegated);
      const end = this.#take();
      if (end.text !== ')') this.#fail(end, `')' is expected here`);
      return cases;
    }
    if (token.text !== '!') return this.#comparison(token, isNegated);
    const first = this.#peek();
    const cases = this.#term(!isNegated);
    const after = this.#peek();
    if (first?.text !== '(' && (isRelation(after?.text ?? '') || this.#wasRelation))
      this.#fail(token, `'!' before a comparison needs parentheses around it`);
    return cases;
  }

  /** Whether what was read last had a relation in it. */
  #wasRelation = false;

  #comparison(first: Token, isNegated: boolean): Cases {
    const relation = this.#relation();
    this.#wasRelation = relation !== undefined;
    if (first.text === '{' || (relation !== undefined && isConstant(first)))
      return this.#constantFirst(first, relation, isNegated);
    if (relation === undefined && (first.text === '0' || first.text === '1'))
      return (first.text === '1') !== isNegated ? everything : nothing;
    if (first.text === inport) return this.#comesFrom(relation, isNegated);
    const expansion = predicates.get(first.text);
    if (expansion !== undefined) return this.#predicate(first, expansion, isNegated);
    const operand = this.#operand(first);
    const compares = this.#relation();
    this.#wasRelation = compares !== undefined;
    if (compares === undefined) {
      if (operand.field.bits !== 1)
        this.#fail(this.#peek() ?? this.#end, `'==' is expected after ${first.text}`);
      return this.#compare(operand, isNegated ? '!=' : '==', { value: 1n, mask: undefined }, first);
    }
    this.#next += 1;
    return this.#compareAll(operand, compares, this.#constants(), isNegated);
  }

  /** `5 == tcp.src`, and `1024 <= tcp.src <= 49151`. */
  #constantFirst(first: Token, found: Relation | undefined, isNegated: boolean): Cases {
    this.#next -= 1;
    const constants = this.#constants();
    const relation = found ?? this.#relation();
    if (relation === undefined) this.#fail(this.#peek() ?? this.#end, `'==' is expected here`);
    this.#next += 1;
    const name = this.#take();
    if (name.text === inport) return this.#names(constants, relation, isNegated);
    const operand = this.#operand(name);
    const left = this.#compareAll(operand, mirror(relation), constants, isNegated);
    const second = this.#relation();
    this.#wasRelation = true;
    if (second === undefined) return left;
    const token = this.#take();
    if (relation[0] !== second[0] || relation === '==' || relation === '!=')
      this.#fail(token, 'this is no range');
    const right = this.#compareAll(operand, second, this.#constants(), isNegated);
    return this.#counted(first, () => (isNegated ? or : and)(left, right));
  }

  #comesFrom(relation: Relation | undefined, isNegated: boolean): Cases {
    if (relation === undefined) this.#fail(this.#peek() ?? this.#end, `'==' is expected after ${inport}`);
    this.#next += 1;
    return this.#names(this.#constants(), relation, isNegated);
  }

  #names(constants: readonly Token[], relation: Relation, isNegated: boolean): Cases {
    const [first = this.#end] = constants;
    if ((isNegated ? opposite(relation) : relation) !== '==')
      this.#fail(first, 'where a packet does not come from does not say where it comes from');
    return constants
      .map((constant) => {
        const value = BigInt(this.#port(constant));
        return only({ field: inport, mask: allBits(nameBits), value, said: constant });
      })
      .reduce(or, nothing);
  }

  /** The number of the port that a constant names. */
  #port(constant: Token): number {
    if (constant.text.startsWith('@'))
      this.#fail(constant, 'a port group does not say from which of its ports the packet comes');
    if (!constant.text.startsWith('"')) this.#fail(constant, 'the name of a port stands in quotation marks');
    const name = readString(constant.text);
    if (name === undefined) this.#fail(constant, 'this is no string');
    const known = this.#ports.indexOf(name);
    return known < 0 ? this.#ports.push(name) - 1 : known;
  }

  #predicate(token: Token, expansion: string, isNegated: boolean): Cases {
    const relation = this.#relation();
    this.#wasRelation = relation !== undefined;
    if (relation === undefined) return this.#expand(expansion, token, isNegated);
    this.#next += 1;
    const constant = this.#take();
    if ((relation !== '==' && relation !== '!=') || (constant.text !== '0' && constant.text !== '1'))
      this.#fail(constant, `${token.text} is true or not: 1 or 0`);
    const isTrue = (relation === '==') === (constant.text === '1');
    return this.#expand(expansion, token, isNegated === isTrue);
  }

  #expand(expansion: string, token: Token, isNegated: boolean): Cases {
    const said = this.#said ?? token;
    return new Reader(tokenize(expansion), said, said, this.#ports, this.#fail).read(isNegated);
  }

  /** A field, perhaps with `[BIT]` or `[LOWEST..HIGHEST]` behind it. */
  #operand(name: Token): Operand {
    const field = this.#fieldOf(name);
    const open = this.#peek();
    if (open?.text !== '[') return { name, field };
    this.#next += 1;
    let inside = '';
    for (let token = this.#take(); token.text !== ']'; token = this.#take()) inside += token.text;
    const [, low, high] = /^(\d+)(?:\.\.(\d+))?$/.exec(inside) ?? [];
    const [lowest, highest] = [Number(low), Number(high ?? low)];
    if (field.isNominal) this.#fail(open, `the bits of ${name.text} say nothing one by one`);
    if (!(lowest <= highest && highest < field.bits))
      this.#fail(open, `${name.text} has bits 0 to ${field.bits - 1}: [BIT] or [LOWEST..HIGHEST]`);
    const bits = highest - lowest + 1;
    return { name, field: { ...field, kind: 'number', offset: field.offset + lowest, bits } };
  }

  #fieldOf(name: Token): Field {
    const field = fields.get(name.text);
    if (field !== undefined) return field;
    if (name.text === 'outport') this.#fail(name, 'where the packet goes is what a trace finds out');
    if (ownSymbols.test(name.text))
      this.#fail(name, `${name.text} is what OVN notes about a packet on its way; no packet begins with it`);
    if (name.text.startsWith('$') || name.text.startsWith('@'))
      this.#fail(name, 'a set stands behind a comparison, and does not determine a packet');
    const candidate = nearest(name.text, [...fields.keys(), ...predicates.keys(), inport]);
    const hint = candidate === undefined ? '' : `; did you mean ${candidate}?`;
    return this.#fail(name, `${name.text} is no field of a packet${hint}`);
  }

  /** One constant, or those of a set. */
  #constants(): readonly Token[] {
    const first = this.#take();
    if (first.text !== '{') return [first];
    const all: Token[] = [];
    for (let token = this.#take(); token.text !== '}'; token = this.#take())
      if (token.text !== ',') all.push(token);
    if (all.length === 0) this.#fail(first, 'a set without constants');
    return all;
  }

  #compareAll(operand: Operand, relation: Relation, constants: readonly Token[], isNegated: boolean): Cases {
    const effective = isNegated ? opposite(relation) : relation;
    const isEquality = effective === '==' || effective === '!=';
    const [first = this.#end, second] = constants;
    if (!isEquality && (second !== undefined || operand.field.isNominal))
      this.#fail(second ?? first, `only '==' and '!=' go with ${second ? 'a set' : operand.name.text}`);
    const each = constants.map((token) => {
      const constant = this.#constant(operand, token);
      if (!isEquality && constant.mask !== undefined)
        this.#fail(token, `only '==' and '!=' go with a masked value`);
      return this.#compare(operand, effective, constant, token);
    });
    const all = effective === '!=' ? and : or;
    return this.#counted(first, () => each.reduce((a, b) => all(a, b)));
  }

  #constant({ name, field }: Operand, token: Token): Constant {
    if (token.text.startsWith('$')) this.#fail(token, 'an address set does not determine a packet');
    if (token.text.startsWith('@')) this.#fail(token, 'a port group does not determine a packet');
    const constant = parseConstant(token.text);
    if (constant === undefined) {
      const masked = token.text.includes('/')
        ? ', and a mask is of the same form, or the length of a prefix'
        : '';
      return this.#fail(token, `${name.text} is ${kindNames[field.kind]}${masked}`);
    }
    if (constant.value > allBits(field.bits) || (constant.mask ?? 0n) > allBits(field.bits))
      this.#fail(token, `${name.text} is ${kindNames[field.kind]} of ${field.bits} bits`);
    return constant;
  }

  /** What the field needs is so whether or not the comparison holds, as in OVN. */
  #compare({ name, field }: Operand, relation: Relation, constant: Constant, at: Token): Cases {
    const { base, offset, bits, needs } = field;
    const shift = BigInt(offset);
    const mask = (constant.mask ?? allBits(bits)) << shift;
    const said = this.#said ?? name;
    const compared = related(base, relation, constant.value << shift, mask, said);
    if (needs === '') return compared;
    return this.#counted(at, () => and(this.#expand(needs, name, false), compared));
  }

  #counted(token: Token, combine: () => Cases): Cases {
    try {
      return combine();
    } catch (error) {
      if (!(error instanceof TooManyCases)) throw error;
      return this.#fail(this.#said ?? token, 'this leaves far too much open to be one packet');
    }
  }

  #relation(): Relation | undefined {
    const text = this.#peek()?.text ?? '';
    return isRelation(text) ? text : undefined;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #take(): Token {
    const token = this.#peek();
    if (token === undefined) return this.#fail(this.#end, 'the expression ends too early');
    this.#next += 1;
    return token;
  }
}

/** What can stand for a value; names begin with a letter and have no colon. */
function isConstant({ text }: Token): boolean {
  return /^[\d"$@]/.test(text) || text.includes(':');
}

/** A JSON string's contents. */
function readString(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'string' ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
