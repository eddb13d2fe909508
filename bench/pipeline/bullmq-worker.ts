// The same work through BullMQ on Redis: `node bullmq-worker.ts '{"port":...}'`.
import { Queue, Worker } from 'bullmq';
import { startMeter, type Reading } from './meter.ts';
import { decodePayload, payload } from './payload.ts';

export interface BullmqOrder {
  readonly port: number;
  readonly concurrency: number;
  readonly warmup: number;
  readonly count: number;
}
export interface BullmqReport {
  readonly publish: Reading;
  readonly consume: Reading;
}

const { port, concurrency, warmup, count } = JSON.parse(process.argv[2] ?? '{}') as BullmqOrder;
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const queue = new Queue('bench', { connection });
// Jobs are JSON: the bytes travel as text.
const data = { body: Buffer.from(payload()).toString('base64') };
const add = async (total: number): Promise<void> => {
  let left = total;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await queue.add('job', data, { removeOnComplete: true, removeOnFail: true });
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
};
await add(warmup);
const publishing = startMeter();
await add(count);
const publish = publishing(count);

const finished = Promise.withResolvers<Reading>();
let done = 0;
let consuming: ((count: number) => Reading) | undefined;
const worker = new Worker<typeof data>(
  'bench',
  async (job) => {
    decodePayload(Buffer.from(job.data.body, 'base64'));
  },
  { connection, concurrency },
);
worker.on('completed', () => {
  done++;
  if (done === warmup) consuming = startMeter();
  if (done === warmup + count && consuming !== undefined) finished.resolve(consuming(count));
});
const report: BullmqReport = { publish, consume: await finished.promise };
console.log(JSON.stringify(report));
process.exit(0);
