// The gateway's own RPC server without what is behind it, in a process of its own: what gRPC on Node costs by itself.
import { BackpressureLimiter } from '../../services/gateway/src/admission/backpressure.ts';
import type { PubAck } from '@sluice/pipeline';
import { startTelemetry } from '@sluice/telemetry';
import { defaultBodies } from '../../services/gateway/src/http/bodies.ts';
import { BodyBudget } from '../../services/gateway/src/admission/body-budget.ts';
import { BodyWatch } from '../../services/gateway/src/admission/body-watch.ts';
import { RateLimiter } from '../../services/gateway/src/accounts/rate-limiter.ts';
import { createRpc, startRpcServer } from '../../services/gateway/src/grpc/server.ts';
import type { RpcDeps } from '../../services/gateway/src/grpc/services.ts';

const { log } = startTelemetry({ service: 'bare', logLevel: 'warn', sampleRatio: 0 });
const off = { name: 'off', limit: 0, windowMs: 1_000 };
const stored: PubAck = { stream: 'EVENTS', sequence: 1, duplicate: false };
const nothingBehind = {
  bus: { port: { publish: async () => stored } },
  flows: { claim: () => undefined },
  // The gateway's own, which nothing has filled: a stand-in would lack what routes come to ask it.
  backpressure: new BackpressureLimiter({ maxBacklog: 50_000, maxWaitMs: 300_000, isBehind: () => false }),
  access: {
    keys: undefined,
    limiter: new RateLimiter(undefined as never),
    limits: { global: off, account: off, recipient: off },
  },
  limits: { maxBytes: 1_000_000 },
  now: Date.now,
  log,
} as unknown as RpcDeps;
const bodies = {
  budget: new BodyBudget(defaultBodies.totalBytes, false),
  watch: new BodyWatch(defaultBodies),
};
const { port } = await startRpcServer(createRpc({ ...nothingBehind, bodies }), { host: '127.0.0.1', port: 0 }, log);
process.send?.({ url: `http://127.0.0.1:${port}` });
process.once('disconnect', () => process.exit(0));
