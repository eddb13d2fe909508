import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Job } from '@sluice/contracts';
import { lifetimes } from '@sluice/messaging';

/** How long the result of a job can be fetched unless a setting says otherwise. */
export const DEFAULT_RESULT_TTL_MS = lifetimes.result;

/** When the result of an ended job expires, in milliseconds since 1970. */
export const resultExpiresMs = (job: Job, ttlMs: number): number =>
  (job.updatedAt === undefined ? 0 : timestampMs(job.updatedAt)) + ttlMs;
