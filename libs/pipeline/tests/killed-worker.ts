// A worker that can be killed: works on W/worker, says what it started, and never finishes the first attempt.
import { connect } from '@nats-io/transport-node';
import { definePipeline, kvAttemptStore } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { decodeJson } from '../src/conformance/source.ts';

const connection = await connect({ servers: process.argv[2] ?? '' });
const port = natsPort(connection);
await definePipeline({
  name: 'doomed',
  sources: [{ stream: 'W', consumer: 'worker' }],
  decode: decodeJson,
  flow: { concurrency: 2, expiresMs: 400, idleHeartbeatMs: 100 },
  retry: { maxAttempts: 2 },
  attempts: { store: kvAttemptStore(port, { bucket: 'attempts' }), maxCrashes: 2 },
  handle: async ({ data, attempt }) => {
    console.log(`started ${data.n} attempt ${attempt}`);
    await new Promise(() => undefined);
  },
}).start({ nats: port, deps: undefined });
setInterval(() => undefined, 60_000);
