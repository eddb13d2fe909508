/**
 * `pnpm replay --into FILE` rebuilds a read model from the streams; `pnpm replay --stream NAME --from SEQ|TIME` publishes
 * a stretch of a stream again. Both show how far they are. Reads the NATS settings of a service from the environment.
 */
import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { connectService, createBus } from '@sluice/messaging';
import { loadConfig, natsFields } from '@sluice/service';
import { pino } from 'pino';
import { startProjection } from '../read-model/projection.ts';
import { openReadModel } from '../read-model/read-model.ts';
import { republish } from './republish.ts';

const usage = `usage: --into FILE [--keep]             rebuild the read model in FILE (--keep: go on from where it stands)
       --stream NAME --from SEQ|TIME   publish messages of a stream again
         [--to SEQ] [--filter SUBJECT] [--subject SUBJECT] [--name NAME] [--rate PER_SECOND] [--dry-run]`;

const { values } = parseArgs({
  options: {
    into: { type: 'string' },
    keep: { type: 'boolean', default: false },
    stream: { type: 'string' },
    from: { type: 'string' },
    to: { type: 'string' },
    filter: { type: 'string' },
    subject: { type: 'string' },
    name: { type: 'string' },
    rate: { type: 'string', default: '500' },
    'dry-run': { type: 'boolean', default: false },
  },
});

const show = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
};

if (values.into === undefined && (values.stream === undefined || values.from === undefined)) {
  console.error(usage);
  process.exit(2);
}
const bus = await createBus(await connectService(loadConfig(natsFields), 'replay', String(process.pid)));
try {
  if (values.into === undefined) await again(values.stream!, values.from!);
  else await rebuild(values.into);
} finally {
  await bus.close();
}

async function rebuild(path: string): Promise<void> {
  if (!values.keep) for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  const model = openReadModel(path);
  const beganMs = performance.now();
  let done = 0;
  const log = pino({ level: 'warn' });
  const onProgress = (count: number, behind: number): void => {
    done = count;
    show(`${count} events, ${behind} to go`);
  };
  const projection = await startProjection({ bus, model, log, onProgress });
  await projection.caughtUp;
  await projection.close();
  model.close();
  show('');
  console.log(`${done} events into ${path} in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
}

async function again(stream: string, from: string): Promise<void> {
  const start = /^\d+$/.test(from) ? Number(from) : new Date(from);
  if (start instanceof Date && Number.isNaN(start.getTime()))
    throw new Error(`--from ${from} is neither a sequence nor a time`);
  const name = values.name ?? `replay-${new Date().toISOString().slice(0, 19)}`;
  const done = await republish({
    bus,
    stream,
    from: start,
    to: values.to === undefined ? undefined : Number(values.to),
    filter: values.filter,
    subject: values.subject,
    name,
    perSecond: Math.max(1, Number(values.rate) || 500),
    dryRun: values['dry-run'],
    onProgress: (count, sequence, last) => show(`${count} messages, at ${sequence} of ${last}`),
  });
  show('');
  console.log(`${done} messages of ${stream} ${values['dry-run'] ? 'would be' : 'were'} published again (${name})`);
}
