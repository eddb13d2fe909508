import type { Resolved } from '../config/schema.ts';
import type { retryFields } from '../config/options.ts';

type Policy = Pick<Resolved<typeof retryFields>, 'baseMs' | 'maxMs' | 'factor' | 'jitter'>;

/**
 * Delay before the next delivery after attempt number `attempt` failed. Never 0: a bare nak is redelivered at once and
 * would burn all attempts within milliseconds.
 */
export function backoffMs(policy: Policy, attempt: number, random: () => number): number {
  const chance = random();
  const part = chance >= 0 && chance <= 1 ? chance : 1;
  const full = Math.min(policy.maxMs, policy.baseMs * policy.factor ** Math.max(0, attempt - 1));
  if (policy.jitter === 'full') return Math.max(1, Math.round(full * part));
  if (policy.jitter === 'equal') return Math.max(1, Math.round((full / 2) * (1 + part)));
  return Math.max(1, Math.round(full));
}
