// The gateway's own server of calls with nothing behind it, in a process of its own: it takes the same message, through the
// same checks, and counts its events.
import { EventService, type RecordEventsRequest } from '@sluice/contracts';
import { startTelemetry } from '@sluice/telemetry';
import { RateLimiter } from '../../services/gateway/src/accounts/rate-limiter.ts';
import { BodyBudget } from '../../services/gateway/src/admission/body-budget.ts';
import { BodyWatch } from '../../services/gateway/src/admission/body-watch.ts';
import { defaultBodies } from '../../services/gateway/src/http/bodies.ts';
import { startRpcServer } from '../../services/gateway/src/grpc/server.ts';
import { unaryServer } from '../../services/gateway/src/grpc/unary.ts';

const { log } = startTelemetry({ service: 'bare', logLevel: 'warn', sampleRatio: 0 });
const off = { name: 'off', limit: 0, windowMs: 1_000 };
const { totalBytes, ...progress } = defaultBodies;
const bodies = { budget: new BodyBudget(totalBytes, false), watch: new BodyWatch(progress) };
const unary = unaryServer(
  [
    {
      desc: EventService.method.recordEvents,
      answer: async (request) => ({ accepted: (request as RecordEventsRequest).events.length }),
    },
  ],
  {
    access: {
      keys: undefined,
      limiter: new RateLimiter(undefined as never),
      limits: { global: off, account: off, recipient: off },
    },
    bodies,
    readMaxBytes: 2 ** 22,
    log,
  },
);
const server = await startRpcServer({ handlers: [], unary, bodies }, { host: '127.0.0.1', port: 0 }, log);
process.send?.({ url: `http://127.0.0.1:${server.port}` });
process.once('disconnect', () => process.exit(0));
