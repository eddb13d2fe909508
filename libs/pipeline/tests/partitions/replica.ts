// One replica of a partitioned pipeline, as a process that a test can stop, kill and freeze.
//
// Every start and end of a handler is stored in the stream RUNS before anything else happens, so the order of that stream is
// the order in which things happened over all replicas. SIGTERM drains.
import { connect } from '@nats-io/transport-node';
import { definePipeline } from '../../src/index.ts';
import { natsPort } from '../../src/nats/index.ts';
import { decodeJson } from '../../src/conformance/source.ts';

const [url = '', name = '', partitions = '4', workMs = '5'] = process.argv.slice(2);
const connection = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
const port = natsPort(connection);
const say = (line: object): void => console.log(JSON.stringify(line));
const running = await definePipeline({
  name: 'replica',
  sources: [{ stream: 'W', consumer: 'worker', partitions: Number(partitions), partitionBy: 'w.*' }],
  decode: decodeJson,
  flow: { concurrency: 8, expiresMs: 400, idleHeartbeatMs: 100 },
  retry: { baseMs: 20, maxMs: 100 },
  timeout: { handlerMs: 10_000, graceMs: 100 },
  handle: async ({ data, key, sequence }, { signal }) => {
    const run = { replica: name, key, n: data.n, sequence };
    const now = (): object => ({ ...run, at: Date.now() });
    await port.publish('runs.start', JSON.stringify(now()));
    await new Promise((resolve) => setTimeout(resolve, Number(workMs)));
    if (signal.aborted) return;
    await port.publish('runs.end', JSON.stringify(now()));
  },
}).start({
  nats: port,
  deps: undefined,
  observe: (event) => {
    if (event.type.startsWith('partition.')) say(event);
    if (event.type === 'message.settled') say({ type: event.type, as: event.as, sequence: event.message.sequence });
  },
});
let last = '';
setInterval(() => {
  const held = running.health().partitions[0]?.held ?? [];
  const now = JSON.stringify({ type: 'held', held });
  if (now !== last) console.log(now);
  last = now;
}, 20);
process.once('SIGTERM', () => {
  void running.drain().then(async (report) => {
    say({ type: 'drained', report });
    port.close();
    await connection.close();
    process.exit(0);
  });
});
