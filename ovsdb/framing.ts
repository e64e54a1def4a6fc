import { ProtocolError } from './errors.js';
import { defaultLimits, type FramingLimits } from './framing-limits.js';
import { isJsonSpace, type Json, parseReceived } from './json.js';
import { PieceCutter, type PieceSink } from './piece-cutter.js';

/** One JSON-RPC message. `sink` has what was taken out of it, when it was too big to be parsed in one go. */
export interface Message {
  readonly value: Json;
  readonly sink?: PieceSink;
}

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/**
 * Splits a byte stream into the JSON objects it consists of (RFC 7047 §4: nothing but the syntax separates them),
 * however it is cut into chunks. It works on bytes: none of JSON's punctuation occurs inside a multi-byte character.
 */
export class MessageReader {
  readonly #limits: FramingLimits;
  readonly #createSink: () => PieceSink;
  /** The message so far, while it is small. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Set once the message has turned out to be big. */
  #big: { readonly cutter: PieceCutter; readonly sink: PieceSink } | undefined;

  constructor(createSink: () => PieceSink, limits: FramingLimits = defaultLimits) {
    this.#createSink = createSink;
    this.#limits = limits;
  }

  /** The messages that `chunk` completes, one by one: what follows is not looked at before the caller asks. Throws ProtocolError. */
  *push(chunk: Buffer): Generator<Message, void> {
    let rest = chunk;
    while (rest.length > 0) {
      const taken = this.#big === undefined ? this.#takeSmall(rest) : this.#takeBig(rest, this.#big);
      rest = rest.subarray(taken.bytes);
      if (taken.message !== undefined) yield taken.message;
    }
  }

  #takeSmall(chunk: Buffer): { readonly bytes: number; readonly message?: Message } {
    const start = this.#depth === 0 ? skipSpace(chunk) : 0;
    if (start === chunk.length) return { bytes: start };
    if (this.#depth === 0 && chunk[start] !== openBrace) {
      throw new ProtocolError(
        `expected a JSON object, received ${JSON.stringify(chunk.toString('latin1', start, start + 20))}`,
      );
    }
    const end = this.#findEnd(chunk, start);
    if (end === undefined) {
      this.#keep(chunk.subarray(start));
      return { bytes: chunk.length };
    }
    const last = chunk.subarray(start, end);
    const whole = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
    this.#parts = [];
    this.#bytes = 0;
    return { bytes: end, message: { value: parseReceived(whole) } };
  }

  /** The index after the byte that closes the message. */
  #findEnd(chunk: Buffer, start: number): number | undefined {
    let depth = this.#depth;
    let inString = this.#inString;
    let escaped = this.#escaped;
    let end: number | undefined;
    for (let index = start; index < chunk.length; index++) {
      const byte = chunk[index];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inString = false;
      } else if (byte === quote) inString = true;
      else if (byte === openBrace || byte === openBracket) depth++;
      else if ((byte === closeBrace || byte === closeBracket) && --depth === 0) {
        end = index + 1;
        break;
      }
    }
    this.#depth = depth;
    this.#inString = inString;
    this.#escaped = escaped;
    return end;
  }

  #keep(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
    if (this.#bytes <= this.#limits.splitAboveBytes) return;
    const sink = this.#createSink();
    const cutter = new PieceCutter(sink, this.#limits);
    for (const held of this.#parts) cutter.push(held);
    this.#parts = [];
    this.#big = { cutter, sink };
  }

  #takeBig(
    chunk: Buffer,
    { cutter, sink }: { readonly cutter: PieceCutter; readonly sink: PieceSink },
  ): { readonly bytes: number; readonly message?: Message } {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limits.maximumMessageBytes) {
      throw new ProtocolError(`a message is longer than ${this.#limits.maximumMessageBytes} bytes`);
    }
    const { bytes, value } = cutter.push(chunk);
    if (value === undefined) return { bytes };
    this.#big = undefined;
    this.#bytes = 0;
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
    return { bytes, message: { value, sink } };
  }
}

function skipSpace(chunk: Buffer): number {
  let index = 0;
  while (index < chunk.length && isJsonSpace(chunk[index])) index++;
  return index;
}
