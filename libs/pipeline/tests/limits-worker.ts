// A replica that can be killed: works on W/worker under shared limits, and says when each handler began and ended.
import { connect } from '@nats-io/transport-node';
import { definePipeline, kvAttemptStore, natsLimits } from '../src/index.ts';
import type { LimitsOptions } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const [, , servers = '', stream = '', limits = '{}', handlerMs = '0', byKey = ''] = process.argv;
const port = natsPort(await connect({ servers }));
const say = (what: string, n: number): void =>
  void process.stdout.write(`${what} ${n} ${performance.timeOrigin + performance.now()}\n`);
await definePipeline<Job>({
  name: 'limited',
  sources: [{ stream, consumer: 'worker' }],
  decode: decodeJson,
  flow: { concurrency: 8, expiresMs: 400, idleHeartbeatMs: 100 },
  limits: {
    ...(JSON.parse(limits) as LimitsOptions<Job>),
    ...(byKey === 'byKey' ? { key: ({ data }) => data.key } : {}),
    shared: natsLimits(port, { bucket: 'limits' }),
    leaseMs: 1500,
  },
  attempts: { store: kvAttemptStore(port, { bucket: 'attempts' }) },
  handle: async ({ data, deliveries }) => {
    say(deliveries === 1 ? 'began' : 'beganAgain', data.n);
    if (Number(handlerMs) > 0) await new Promise((resolve) => setTimeout(resolve, Number(handlerMs)));
    say('ended', data.n);
  },
}).start({ nats: port, deps: undefined });
say('ready', 0);
