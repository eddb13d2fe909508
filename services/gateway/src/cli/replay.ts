/**
 * `pnpm replay --into FILE` rebuilds a read model from the streams; `pnpm replay --stream NAME --from SEQ|TIME` publishes
 * a stretch of a stream again. Both show how far they are. Reads the NATS settings of a service from the environment, or
 * finds the system that `pnpm dev` runs.
 */
import { UsageError } from '@sluice/cli';
import { jobStreamsNow, type Bus } from '@sluice/messaging';
import { runBusCommand } from '@sluice/service/bus-command';
import { rmSync } from 'node:fs';
import { pino } from 'pino';
import { startProjection } from '../history/projection.ts';
import { openReadModel } from '../history/open-read-model.ts';
import { republish, type RepublishSettings } from '../history/republish.ts';

const usage = `usage: pnpm replay --into FILE [--keep]             rebuild the read model in FILE
       pnpm replay --stream NAME --from SEQ|TIME   publish messages of a stream again

  --keep            go on from where the read model in FILE stands
  --to SEQ          the last message; the newest one if absent
  --filter SUBJECT  only messages of this subject
  --subject SUBJECT publish to this subject instead of the original one
  --name NAME       tells this replay from others: the same name publishes nothing twice
  --rate N          messages a second (default 500)
  --dry-run         count only`;

const show = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
};

const options = {
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
} as const;

await runBusCommand({ name: 'pnpm replay', usage, options }, ({ values }) => {
  const { into, keep, stream, from, to, filter, subject, rate } = values;
  if (into !== undefined) return (bus) => rebuild(bus, into, keep);
  if (stream === undefined || from === undefined)
    throw new UsageError('--into FILE, or --stream NAME and --from SEQ|TIME, is wanted');
  const settings = {
    stream,
    filter,
    subject,
    from: startOf(from),
    to: to === undefined ? undefined : count('--to', to),
    perSecond: count('--rate', rate),
    name: values.name ?? `replay-${new Date().toISOString().slice(0, 19)}`,
    dryRun: values['dry-run'],
  };
  return (bus) => again(bus, settings);
});

function startOf(from: string): number | Date {
  const start = /^\d+$/.test(from) ? Number(from) : new Date(from);
  if (Number.isNaN(start.valueOf())) throw new UsageError(`--from ${from} is neither a sequence nor a time`);
  return start;
}

function count(option: string, text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new UsageError(`${option} ${text} is not a number from 1 on`);
}

async function rebuild(bus: Bus, path: string, keep: boolean): Promise<void> {
  const log = pino({ level: 'warn' });
  if (!keep) {
    // Opened first: a file that a gateway has open is refused, and stays.
    await (await openReadModel(`sqlite:${path}`, log)).close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  }
  const model = await openReadModel(`sqlite:${path}`, log);
  const beganMs = performance.now();
  let done = 0;
  const onProgress = (taken: number, behind: number): void => {
    done = taken;
    show(`${taken} events, ${behind} to go`);
  };
  const projection = startProjection({ bus, model, log, onProgress, jobStreams: await jobStreamsNow(bus.jsm) });
  await projection.caughtUp;
  await projection.close();
  await model.close();
  show('');
  console.log(`${done} events into ${path} in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
}

async function again(bus: Bus, settings: Omit<RepublishSettings, 'bus' | 'onProgress'>): Promise<void> {
  const { stream, name, dryRun } = settings;
  const done = await republish({
    ...settings,
    bus,
    onProgress: (taken, sequence, last) => show(`${taken} messages, at ${sequence} of ${last}`),
  });
  show('');
  console.log(`${done} messages of ${stream} ${dryRun ? 'would be' : 'were'} published again (${name})`);
}
