import { endianness } from 'node:os';

const littleEndian = endianness() === 'LE';

/** A __u32 in host byte order. */
export function encodeUint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, littleEndian);
  return bytes;
}

/** The __u32 at the start of `bytes`, in host byte order. Throws RangeError when there are fewer than 4. */
export function decodeUint32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, littleEndian);
}
