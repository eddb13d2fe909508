import type { JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import type { TemplateStore } from '@sluice/mail-templates';
import type { ObjectStore } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import type { AcceptDeps } from '../jobs/accept/accept-job.ts';
import type { KeysInProgress } from '../jobs/accept/idempotency.ts';
import type { BackpressureLimiter } from '../admission/backpressure.ts';
import type { OpenStreams } from '../admission/open-streams.ts';
import type { AccessSettings } from '../accounts/access.ts';
import type { ReadModel } from '../history/read-model.ts';
import type { AttachmentStorage } from '../uploads/attachment-storage.ts';
import type { IntakeLimits } from '../uploads/take-source.ts';
import type { LiveJobs } from '../jobs/timeline/live.ts';

/** What routes work with. */
export interface RouteDeps {
  readonly bus: Bus;
  readonly jobs: JobLog;
  /** Knows ended jobs that `JOBS` has forgotten. */
  readonly history: Pick<ReadModel, 'job'>;
  /** What `acceptJob` needs for a job that a client asked for. */
  readonly accept: AcceptDeps;
  readonly store: ObjectStore;
  readonly attachmentStorage: AttachmentStorage;
  /** What accounts wrote for their mails. */
  readonly templates: TemplateStore;
  readonly live: LiveJobs;
  readonly streams: OpenStreams;
  readonly keys: KeysInProgress;
  readonly log: Logger;
  readonly now: () => number;
  readonly limits: IntakeLimits;
  readonly backpressure: BackpressureLimiter;
  /** How long the result of a job can be fetched after its end. */
  readonly resultTtlMs: number;
  readonly access: AccessSettings;
  /** Aborted when the process begins to stop: what waits, answers. */
  readonly closing: AbortSignal;
}
