import type { ResolvedLimits } from '../config/resolve-limits.ts';
import type { ConfigProblem } from '../errors.ts';
import { refillMs } from './limit.ts';

/** A store has to keep what a process holds for longer than it takes to notice that the process is gone. */
const LEASES_PER_TTL = 3;

/** What would make limits that are shared wrong: looked at before the first message. */
export async function checkLimitStore(limits: ResolvedLimits<never> | undefined): Promise<readonly ConfigProblem[]> {
  if (limits?.shared === undefined) return [];
  const { ttlMs, problems } = await limits.shared.check();
  if (problems.length > 0) return problems;
  const needed = Math.max(
    LEASES_PER_TTL * limits.leaseMs,
    ...[limits.all, limits.perKey].map((size) => (size === undefined ? 0 : refillMs(size))),
  );
  if (ttlMs >= needed) return [];
  const message = `keeps entries for ${ttlMs} ms; at least ${Math.ceil(needed)} are needed, for leaseMs and until a burst is there again`;
  return [{ path: 'limits.shared', message }];
}
