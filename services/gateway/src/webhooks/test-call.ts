import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobKind, JobSchema, JobState } from '@sluice/contracts';
import { createOutboundAgent, refusalOf } from '@sluice/outbound';
import { GatewayError } from '../errors.ts';
import { jobView } from '../jobs/job-view.ts';
import { callReceiver } from './call.ts';
import { createCallLimiter, defaultCallLimits } from './call-limiter.ts';
import type { WebhookSecrets } from './secrets.ts';
import type { WebhookSettings } from './webhooks.ts';

/** What a receiver did with the webhook of a test. */
export interface TestResult {
  readonly delivered: boolean;
  readonly detail: string;
  readonly status?: number;
  readonly durationMs: number;
}

/** Calls a receiver once, with a job that never was, so that an account can try it out. */
export interface WebhookTester {
  /** @throws {GatewayError} `rate_limited` while the account has as many tests at work as it may. */
  send(account: string, url: URL): Promise<TestResult>;
  close(): Promise<void>;
}

/** An id that no job gets: its time is that of 1970. */
export const TEST_JOB_ID = `job_${'0'.repeat(26)}`;
/** A person waits for each: no test waits for its turn. */
const limits = { ...defaultCallLimits, total: 32, perAccount: 2, perHost: 2, waitingPerAccount: 0 };

export function webhookTester(
  { targets, timeoutMs }: Pick<WebhookSettings, 'targets' | 'timeoutMs'>,
  {
    secrets,
    now,
    signal,
  }: { readonly secrets: WebhookSecrets; readonly now: () => number; readonly signal: AbortSignal },
): WebhookTester {
  const agent = createOutboundAgent({ targets, connectTimeoutMs: timeoutMs });
  const limiter = createCallLimiter(limits);
  return {
    async send(account, url) {
      const refusal = refusalOf(url, targets);
      if (refusal !== undefined) return { delivered: false, detail: `the URL ${refusal}`, durationMs: 0 };
      const release = await limiter.acquire({ account, host: url.host, retry: false });
      if (release === undefined) {
        throw new GatewayError('rate_limited', 'Other tests of webhooks are at work: wait for their answers.', {
          retryAfterSeconds: Math.ceil(timeoutMs / 1000),
        });
      }
      const startedMs = performance.now();
      try {
        const message = { id: `test.${randomUUID()}`, account, body: JSON.stringify(testJob(account, now())) };
        const { kind, detail, status } = await callReceiver(url, message, {
          deps: { agent, secrets, now },
          timeoutMs,
          signal,
        });
        return {
          delivered: kind === 'delivered',
          detail,
          ...(status === undefined ? {} : { status }),
          durationMs: Math.round(performance.now() - startedMs),
        };
      } finally {
        release('reached');
      }
    },
    async close() {
      limiter.close();
      await agent.destroy();
    },
  };
}

const testJob = (account: string, nowMs: number) =>
  jobView(
    create(JobSchema, {
      id: TEST_JOB_ID,
      account,
      kind: JobKind.EMAIL,
      state: JobState.SUCCEEDED,
      attempt: 1,
      createdAt: timestampFromMs(nowMs),
      updatedAt: timestampFromMs(nowMs),
      traceId: '0'.repeat(32),
      metadata: { test: 'true' },
    }),
  );
