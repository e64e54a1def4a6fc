import { ProtocolError } from './errors.js';

/** What JSON.parse returns. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [name: string]: Json;
}

/** JSON.parse with its type. Throws SyntaxError. */
export function parseJson(text: string): Json {
  return JSON.parse(text) as Json;
}

/** One JSON text as it was received, in UTF-8. Throws ProtocolError. */
export function parseReceived(bytes: Buffer): Json {
  try {
    return parseJson(bytes.toString('utf8'));
  } catch (error) {
    throw new ProtocolError('received invalid JSON', { length: bytes.length }, error);
  }
}

/** JSON's white space (RFC 8259 §2). */
export function isJsonSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isJsonArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
