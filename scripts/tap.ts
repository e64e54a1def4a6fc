/** One test line of a TAP stream. */
export interface TapResult {
  readonly ok: boolean;
  /** Not run although it is there: skipped, or only planned. */
  readonly skipped: boolean;
  readonly title: string;
}

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const emptyTally: Tally = { passed: 0, failed: 0, skipped: 0 };

/** SKIP and TODO are directives of the protocol: a test that is there and was not run. */
const resultLine = /^(not )?ok \d+ - (.*?)( # (?:SKIP|TODO))?$/;

/** Reads a line of the Test Anything Protocol (version 13); undefined when it is not a test's result. */
export function parseTapLine(line: string): TapResult | undefined {
  const match = resultLine.exec(line);
  if (match === null) return undefined;
  return { ok: match[1] === undefined, skipped: match[3] !== undefined, title: match[2] ?? '' };
}

/** True for the plan, which ava writes at the end of a run that was not cut short. */
export function isTapPlan(line: string): boolean {
  return /^1\.\.\d+$/.test(line);
}

export function count(tally: Tally, result: TapResult): Tally {
  if (result.skipped) return { ...tally, skipped: tally.skipped + 1 };
  return result.ok ? { ...tally, passed: tally.passed + 1 } : { ...tally, failed: tally.failed + 1 };
}

/** Where skipping is not accepted (CI), what was skipped has failed. */
export function withoutSkips(tally: Tally): Tally {
  return { passed: tally.passed, failed: tally.failed + tally.skipped, skipped: 0 };
}

/** The closing line. */
export function formatTally({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
}
