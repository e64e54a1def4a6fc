const tagOffset = 12;
const tagBytes = 4;
const tagTypes: readonly number[] = [0x8100, 0x88a8];

/** An 802.1Q or 802.1ad tag. */
export interface Tag {
  readonly type: number;
  /** Priority, drop eligibility and VLAN id (IEEE 802.1Q 9.6). */
  readonly tci: number;
}

/** The first tag of an Ethernet frame. */
export function outerTag(frame: Uint8Array): Tag | undefined {
  if (frame.length < tagOffset + tagBytes) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = view.getUint16(tagOffset);
  return tagTypes.includes(type) ? { type, tci: view.getUint16(tagOffset + 2) } : undefined;
}

/** The frame with the tag in front of what it has. */
export function insertTag(frame: Uint8Array, { type, tci }: Tag): Uint8Array {
  const tagged = new Uint8Array(frame.length + tagBytes);
  tagged.set(frame.subarray(0, tagOffset));
  const view = new DataView(tagged.buffer);
  view.setUint16(tagOffset, type);
  view.setUint16(tagOffset + 2, tci);
  tagged.set(frame.subarray(tagOffset), tagOffset + tagBytes);
  return tagged;
}
