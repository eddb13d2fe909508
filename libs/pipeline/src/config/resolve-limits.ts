import type { ConfigProblem } from '../errors.ts';
import type { LimitSize } from '../limits/limit.ts';
import type { LimitStore } from '../limits/store.ts';
import type { Message } from '../process/message.ts';
import * as options from './options.ts';
import { isRecord, resolve } from './schema.ts';

/** The limits of a pipeline, checked. */
export interface ResolvedLimits<T> {
  readonly name: string;
  readonly leaseMs: number;
  readonly key: ((message: Message<T>) => string | undefined) | undefined;
  readonly all: LimitSize | undefined;
  readonly perKey: LimitSize | undefined;
  readonly shared: LimitStore | undefined;
}

/** Checks the group `limits` of a spec. */
export function resolveLimits<T>(
  raw: unknown,
  pipeline: string,
  problems: ConfigProblem[],
): ResolvedLimits<T> | undefined {
  if (raw === undefined) return undefined;
  const { all, perKey, shared, ...rest } = isRecord(raw) ? raw : {};
  const fields = resolve(options.limitsFields, isRecord(raw) ? rest : raw, 'limits', problems);
  const say = (path: string, message: string): void => void problems.push({ path, message });
  if (perKey !== undefined && fields.key === undefined) say('limits.key', 'is required with limits.perKey');
  if (all === undefined && fields.key === undefined) say('limits', 'needs `all`, or `key` for a fair share');
  if (shared !== undefined && (!isRecord(shared) || typeof shared['watch'] !== 'function'))
    say('limits.shared', 'must be a LimitStore');
  return {
    name: fields.name ?? pipeline,
    leaseMs: fields.leaseMs,
    key: fields.key as ResolvedLimits<T>['key'],
    all: resolveSize(all, 'limits.all', problems),
    perKey: resolveSize(perKey, 'limits.perKey', problems),
    shared: shared as LimitStore | undefined,
  };
}

function resolveSize(raw: unknown, path: string, problems: ConfigProblem[]): LimitSize | undefined {
  if (raw === undefined) return undefined;
  const size = resolve(options.limitFields, raw, path, problems);
  if (size.perSecond === undefined && size.concurrency === undefined)
    problems.push({ path, message: 'needs perSecond or concurrency' });
  if (size.burst !== undefined && size.perSecond === undefined)
    problems.push({ path: `${path}.burst`, message: 'needs perSecond' });
  return size;
}
