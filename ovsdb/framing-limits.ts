export interface FramingLimits {
  /** Above this size a message is parsed piece by piece. */
  readonly splitAboveBytes: number;
  /** One piece (a row, a string) may be this long; parsing it takes the time of one stall. */
  readonly maximumPieceBytes: number;
  /** All of a message that stays in memory as parsed JSON, rows of monitored tables not counted. */
  readonly maximumKeptBytes: number;
  /** A whole message. */
  readonly maximumMessageBytes: number;
}

export const defaultLimits: FramingLimits = {
  splitAboveBytes: 256 * 1024,
  maximumPieceBytes: 64 * 1024 * 1024,
  maximumKeptBytes: 128 * 1024 * 1024,
  maximumMessageBytes: 2 * 1024 * 1024 * 1024,
};
