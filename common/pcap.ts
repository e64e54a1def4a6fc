import { existsSync, readFileSync } from 'node:fs';

const fileHeaderBytes = 24;
const recordHeaderBytes = 16;
const littleEndianMagics = new Set([0xa1b2c3d4, 0xa1b23c4d]);

/**
 * The frames of a capture file (the classic pcap format, either byte order), complete ones only: the last may still
 * be being written. None when there is no file yet.
 */
export function readPcap(file: string): readonly Uint8Array[] {
  if (!existsSync(file)) return [];
  const bytes = readFileSync(file);
  if (bytes.length < fileHeaderBytes) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const littleEndian = littleEndianMagics.has(view.getUint32(0, true));
  const frames: Uint8Array[] = [];
  let offset = fileHeaderBytes;
  while (offset + recordHeaderBytes <= bytes.length) {
    const start = offset + recordHeaderBytes;
    const end = start + view.getUint32(offset + 8, littleEndian);
    if (end > bytes.length) break;
    frames.push(Uint8Array.from(bytes.subarray(start, end)));
    offset = end;
  }
  return frames;
}
