import { ProtocolError } from './errors.js';
import type { FramingLimits } from './framing-limits.js';
import { isJsonSpace, type Json, parseReceived } from './json.js';

/** Where a piece sits: keys and array indices from the message's root. */
export type PiecePath = readonly (string | number)[];

/** Takes pieces of a big message as they come. */
export interface PieceSink {
  /** True when it has taken the piece, which is then left out of the message. */
  accept(path: PiecePath, piece: Json): boolean;
}

type Container =
  | { readonly kind: 'array'; readonly items: Json[] }
  | { readonly kind: 'object'; readonly members: Record<string, Json>; key: string };

/** What may come next. */
type Expectation = 'value' | 'value or ]' | 'key or }' | 'key' | ':' | ', or end' | 'nothing';

/** What an element costs besides its text, for the limit on memory. */
const bytesPerElement = 32;

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * Parses one big JSON text as its bytes arrive. The outer levels are walked here; what lies below them (one row of a
 * table, in everything OVSDB sends) is cut out and goes to JSON.parse in one go, so that no step takes long.
 */
export class PieceCutter {
  readonly #sink: PieceSink;
  readonly #limits: FramingLimits;
  readonly #stack: Container[] = [];
  #root: Json | undefined;
  #expectation: Expectation = 'value';
  #keptBytes = 0;
  /** The token being collected: a string (perhaps a key), a bare word or number, or a nested piece. */
  #token: 'none' | 'string' | 'bare' | 'nested' = 'none';
  #tokenParts: Buffer[] = [];
  #tokenBytes = 0;
  #nestedDepth = 0;
  #inString = false;
  #escaped = false;

  constructor(sink: PieceSink, limits: FramingLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** Consumes `chunk` up to the end of the text; `value` is there once that has been reached. Throws ProtocolError. */
  push(chunk: Buffer): { readonly bytes: number; readonly value?: Json } {
    let index = 0;
    while (index < chunk.length) {
      index = this.#token === 'none' ? this.#step(chunk, index) : this.#continueToken(chunk, index);
      if (this.#expectation === 'nothing' && this.#root !== undefined) {
        return { bytes: index, value: this.#root };
      }
    }
    return { bytes: index };
  }

  /** Handles the byte at `index`, which is outside any token; returns the index to go on with. */
  #step(chunk: Buffer, index: number): number {
    const byte = chunk[index] ?? 0;
    if (isJsonSpace(byte)) return index + 1;
    switch (this.#expectation) {
      case ', or end':
        return this.#endElement(byte, index);
      case ':':
        if (byte !== colon) throw unexpected(byte, ':');
        this.#expectation = 'value';
        return index + 1;
      case 'key or }':
      case 'key':
        if (byte === closeBrace && this.#expectation === 'key or }') return this.#close(index);
        if (byte !== quote) throw unexpected(byte, this.#expectation);
        return this.#startToken('string', chunk, index);
      case 'value or ]':
      case 'value':
        if (byte === closeBracket && this.#expectation === 'value or ]') return this.#close(index);
        return this.#startValue(byte, chunk, index);
      case 'nothing':
        throw unexpected(byte, 'nothing');
    }
  }

  #endElement(byte: number, index: number): number {
    const top = this.#stack.at(-1);
    const isArray = top?.kind === 'array';
    if (byte === comma) {
      this.#expectation = isArray ? 'value' : 'key';
      return index + 1;
    }
    if (byte !== (isArray ? closeBracket : closeBrace)) throw unexpected(byte, ', or end');
    return this.#close(index);
  }

  #startValue(byte: number, chunk: Buffer, index: number): number {
    if (byte === quote) return this.#startToken('string', chunk, index);
    if (byte !== openBrace && byte !== openBracket) {
      if (byte === comma || byte === colon || byte === closeBrace || byte === closeBracket) {
        throw unexpected(byte, 'value');
      }
      return this.#startToken('bare', chunk, index);
    }
    if (this.#stack.length >= this.#walkedLevels()) return this.#startToken('nested', chunk, index);
    if (byte === openBrace) {
      this.#stack.push({ kind: 'object', members: Object.create(null) as Record<string, Json>, key: '' });
      this.#expectation = 'key or }';
    } else {
      this.#stack.push({ kind: 'array', items: [] });
      this.#expectation = 'value or ]';
    }
    return index + 1;
  }

  /**
   * Levels above the rows: message, result or params, tables, rows by uuid. Where `result` is the tables themselves
   * (monitor, monitor_cond) there is one less.
   */
  #walkedLevels(): number {
    return this.#stack[1]?.kind === 'object' ? 3 : 4;
  }

  #startToken(token: 'string' | 'bare' | 'nested', chunk: Buffer, index: number): number {
    this.#token = token;
    this.#tokenParts = [];
    this.#tokenBytes = 0;
    this.#escaped = false;
    this.#inString = token === 'string';
    if (token === 'bare') return this.#continueBare(chunk, index, index);
    this.#nestedDepth = token === 'nested' ? 1 : 0;
    return this.#continueNested(chunk, index, index + 1);
  }

  #continueToken(chunk: Buffer, index: number): number {
    return this.#token === 'bare'
      ? this.#continueBare(chunk, index, index)
      : this.#continueNested(chunk, index, index);
  }

  #continueBare(chunk: Buffer, start: number, from: number): number {
    let index = from;
    while (index < chunk.length && !endsBare(chunk[index])) index++;
    this.#collect(chunk, start, index);
    if (index < chunk.length) this.#finishToken();
    return index;
  }

  /** A string is a nested piece of depth 0 that begins inside a string. */
  #continueNested(chunk: Buffer, start: number, from: number): number {
    let depth = this.#nestedDepth;
    let inString = this.#inString;
    let escaped = this.#escaped;
    let index = from;
    let done = false;
    for (; index < chunk.length && !done; index++) {
      const byte = chunk[index];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) {
          inString = false;
          done = depth === 0;
        }
      } else if (byte === quote) inString = true;
      else if (byte === openBrace || byte === openBracket) depth++;
      else if (byte === closeBrace || byte === closeBracket) done = --depth === 0;
    }
    this.#nestedDepth = depth;
    this.#inString = inString;
    this.#escaped = escaped;
    this.#collect(chunk, start, index);
    if (done) this.#finishToken();
    return index;
  }

  #collect(chunk: Buffer, start: number, end: number): void {
    this.#tokenParts.push(chunk.subarray(start, end));
    this.#tokenBytes += end - start;
    if (this.#tokenBytes > this.#limits.maximumPieceBytes) {
      throw new ProtocolError(`one value is longer than ${this.#limits.maximumPieceBytes} bytes`);
    }
  }

  #finishToken(): void {
    const nested = this.#token === 'nested';
    const only = this.#tokenParts.length === 1 ? this.#tokenParts[0] : undefined;
    const value = parseReceived(only ?? Buffer.concat(this.#tokenParts));
    this.#token = 'none';
    this.#tokenParts = [];
    const top = this.#stack.at(-1);
    if (this.#expectation === 'key' || this.#expectation === 'key or }') {
      if (top?.kind === 'object' && typeof value === 'string') top.key = value;
      this.#expectation = ':';
      return;
    }
    if (!nested || !this.#sink.accept(this.#path(), value)) {
      this.#place(value, this.#tokenBytes);
    }
    this.#expectation = ', or end';
  }

  #place(value: Json, bytes: number): void {
    const top = this.#stack.at(-1);
    if (top === undefined) throw new ProtocolError('expected a JSON object');
    this.#keptBytes += bytes + bytesPerElement + (top.kind === 'object' ? top.key.length : 0);
    if (this.#keptBytes > this.#limits.maximumKeptBytes) {
      throw new ProtocolError(`a message holds more than ${this.#limits.maximumKeptBytes} bytes`);
    }
    if (top.kind === 'array') top.items.push(value);
    else top.members[top.key] = value;
  }

  /** Ends the innermost container, whose closing byte is at `index`. */
  #close(index: number): number {
    const closed = this.#stack.pop();
    if (closed === undefined) throw new ProtocolError('unbalanced brackets');
    const value = closed.kind === 'array' ? closed.items : closed.members;
    if (this.#stack.length === 0) {
      this.#root = value;
      this.#expectation = 'nothing';
    } else {
      this.#place(value, 0);
      this.#expectation = ', or end';
    }
    return index + 1;
  }

  #path(): PiecePath {
    return this.#stack.map((container) =>
      container.kind === 'array' ? container.items.length : container.key,
    );
  }
}

function endsBare(byte: number | undefined): boolean {
  return byte === comma || byte === closeBrace || byte === closeBracket || isJsonSpace(byte);
}

function unexpected(byte: number, expected: string): ProtocolError {
  const found = JSON.stringify(String.fromCharCode(byte));
  return new ProtocolError(`received invalid JSON: expected ${expected}, found ${found}`);
}
