// The gateway's own routes without what is behind them, in a process of their own: what the HTTP layer costs by itself.
import type { AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { JobSchema } from '@sluice/contracts';
import { acceptEvent, type JobLog } from '@sluice/jobs';
import type { PubAck } from '@sluice/pipeline';
import { httpTelemetry, startTelemetry } from '@sluice/telemetry';
import { KeysInProgress } from '../../services/gateway/src/jobs/accept/idempotency.ts';
import { useAccess } from '../../services/gateway/src/http/access.ts';
import { type AccessSettings } from '../../services/gateway/src/accounts/access.ts';
import { createApp } from '../../services/gateway/src/http/app.ts';
import { BackpressureLimiter } from '../../services/gateway/src/admission/backpressure.ts';
import type { RouteDeps } from '../../services/gateway/src/http/deps.ts';
import type { FlowStore } from '../../services/gateway/src/lifecycle/flows.ts';
import { RateLimiter } from '../../services/gateway/src/accounts/rate-limiter.ts';
import { emailRoutes } from '../../services/gateway/src/http/routes/emails.ts';
import { eventRoutes } from '../../services/gateway/src/http/routes/events.ts';
import { TimelineEntrySchema } from '../../services/gateway/src/jobs/timeline/entry.ts';

const { log, registry } = startTelemetry({ service: 'bare', logLevel: 'warn', sampleRatio: 0 });
const app = await createApp({ log, version: 'bench', telemetry: httpTelemetry({ registry }) });
const off = { name: 'off', limit: 0, windowMs: 1_000 };
const access: AccessSettings = {
  keys: undefined,
  limiter: new RateLimiter(undefined as never),
  limits: { global: off, account: off, recipient: off },
};
useAccess(app, access);
app.addSchema(TimelineEntrySchema);
const stored: PubAck = { stream: 'EVENTS', sequence: 1, duplicate: false };
const jobs: Pick<JobLog, 'accept'> = {
  accept: async (job) => {
    const { job: made = create(JobSchema), cause } = acceptEvent(job, Date.now());
    return { job: made, cause, stream: 'JOBS', sequence: 1, accepted: true };
  },
};
const nothingBehind = {
  bus: { port: { publish: async () => stored } },
  now: Date.now,
  accept: { log: jobs, now: Date.now },
  keys: new KeysInProgress(),
  // The gateway's own, which nothing has filled: a stand-in would lack what routes come to ask it.
  backpressure: new BackpressureLimiter({ maxBacklog: 50_000, maxWaitMs: 300_000, isBehind: () => false }),
  access,
} as unknown as RouteDeps;
const known: FlowStore = {
  find: () => undefined,
  list: () => [],
  claim: () => undefined,
  declare: () => Promise.reject(new Error('not here')),
  close: () => Promise.resolve(),
};
eventRoutes(app, { ...nothingBehind, model: { seen: async () => [] } }, known);
emailRoutes(app, nothingBehind);
const text = { type: 'string' };
app.get(
  '/v1/static',
  {
    config: { scope: 'public' },
    schema: { response: { 200: { type: 'object', properties: { id: text, state: text, createdAt: text } } } },
  },
  async () => ({ id: 'job_aaaaaaaaaaaaaaaaaaaaaaaaaa', state: 'succeeded', createdAt: '2026-01-01T00:00:00.000Z' }),
);
await app.listen({ host: '127.0.0.1', port: 0 });
process.send?.({ url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` });
process.once('disconnect', () => process.exit(0));
