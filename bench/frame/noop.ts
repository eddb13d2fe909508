import type { Row } from './result.ts';

/** What luck may add to a rate that cannot be above that of a no-op. */
export const NOOP_MAX = 1.05;

/**
 * A rate beside that of a no-op: the same loop with nothing behind it. Work cannot be faster than no work, so a ratio above
 * `NOOP_MAX` says that the load generator or the machine was measured: the row fails as a fault of the bench, even above
 * its floor.
 */
export function besideNoop(row: {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  /** The rate over that of the no-op. */
  readonly ratio: number;
  readonly floor?: number;
}): Row {
  const { floor, ratio } = row;
  if (ratio > NOOP_MAX) {
    const unit = `${row.unit}; FAULT OF THE BENCH: above ${NOOP_MAX} of a no-op`;
    return { ...row, unit, pass: false };
  }
  return { ...row, pass: floor === undefined || ratio >= floor };
}
