import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Job } from '@sluice/contracts';

/** How long the result of a job can be fetched unless a setting says otherwise. */
export const DEFAULT_RESULT_TTL_MS = 24 * 3_600_000;

/** When the result of an ended job expires, in milliseconds since 1970. */
export const resultExpiresMs = (job: Job, ttlMs: number): number =>
  (job.updatedAt === undefined ? 0 : timestampMs(job.updatedAt)) + ttlMs;
