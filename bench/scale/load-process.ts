// Jobs at a fixed pace, and when each of them has ended: `fork`ed by bench/scale.ts, one order after the other.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { channels } from '@sluice/contracts';
import { connectNats } from '@sluice/messaging';
import { openLine, type Line, type LoadRequest } from '../gateway/load.ts';
import { quantile } from '../pipeline/meter.ts';
import type { Work } from './system.ts';

export interface LoadOrder {
  readonly gatewayUrl: string;
  readonly natsUrl: string;
  readonly work: Work;
  readonly perSecond: number;
  readonly seconds: number;
  /** How long what was accepted is waited for. */
  readonly drainSeconds: number;
}

export interface LoadReport {
  readonly accepted: number;
  readonly refused: number;
  /** Jobs that had ended when the wait was over. */
  readonly ended: number;
  /** From the first request to the last end. */
  readonly seconds: number;
  /** From when a job was due to its answer, and to its end. */
  readonly acceptP99Ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Some of the jobs. */
  readonly sample: readonly string[];
}

const CONNECTIONS = 64;
const SAMPLE = 60;
const PHOTO = join(import.meta.dirname, '../../samples/photo.jpg');

let numbered = 0;
const mail: LoadRequest = {
  method: 'POST',
  path: '/v1/emails',
  headers: { 'content-type': 'application/json' },
  body: () => {
    const to = `user-${(numbered += 1)}-${process.pid}@example.com`;
    return JSON.stringify({ to, template: 'welcome', variables: { name: 'Ada' } });
  },
};
const photo = readFileSync(PHOTO);
const picture: LoadRequest = {
  method: 'POST',
  path: '/v1/images',
  headers: { 'content-type': 'image/jpeg' },
  body: () => photo,
};

async function run(order: LoadOrder): Promise<LoadReport> {
  const { gatewayUrl, natsUrl, work, perSecond, seconds, drainSeconds } = order;
  const request = work === 'pictures' ? picture : mail;
  const nc = await connectNats({ url: natsUrl, name: 'bench-scale' });
  const endedMs = new Map<string, number>();
  const { template, schema } = work === 'pictures' ? channels.clientImageConverted : channels.clientEmailSent;
  nc.subscribe(template, {
    callback: (_, message) => {
      const id = fromBinary(schema, message.data).job?.id;
      if (id !== undefined && !endedMs.has(id)) endedMs.set(id, performance.now());
    },
  });
  await nc.flush();
  const dueMs = new Map<string, number>();
  const acceptMs: number[] = [];
  let refused = 0;
  const idle: Line[] = await Promise.all(Array.from({ length: CONNECTIONS }, () => openLine(gatewayUrl)));
  const waiting: ((line: Line) => void)[] = [];
  const one = async (due: number): Promise<void> => {
    let line = idle.pop() ?? (await new Promise<Line>((resolve) => waiting.push(resolve)));
    if (!line.isOpen()) line = await openLine(gatewayUrl);
    const { status, body } = await line.ask(request).catch(() => ({ status: 0, body: '' }));
    const next = waiting.shift();
    if (next === undefined) idle.push(line);
    else next(line);
    if (status === 202) {
      acceptMs.push(performance.now() - due);
      dueMs.set((JSON.parse(body) as { id: string }).id, due);
    } else refused += 1;
  };
  const beganMs = performance.now();
  const running: Promise<void>[] = [];
  for (let sent = 0; sent < perSecond * seconds;) {
    const dueNow = Math.min(perSecond * seconds, ((performance.now() - beganMs) / 1000) * perSecond);
    for (; sent < dueNow; sent += 1) running.push(one(beganMs + (sent / perSecond) * 1000));
    await sleep(1);
  }
  await Promise.all(running);
  const untilMs = performance.now() + drainSeconds * 1000;
  const missing = (): boolean => [...dueMs.keys()].some((id) => !endedMs.has(id));
  while (missing() && performance.now() < untilMs) await sleep(20);
  for (const line of idle) line.close();
  await nc.close();
  const ended = [...dueMs].flatMap(([id, due]) => {
    const at = endedMs.get(id);
    return at === undefined ? [] : [{ id, at, ms: at - due }];
  });
  const times = ended.map(({ ms }) => ms);
  const every = Math.max(1, Math.floor(ended.length / SAMPLE));
  return {
    accepted: dueMs.size,
    refused,
    ended: ended.length,
    seconds: (Math.max(...ended.map(({ at }) => at)) - beganMs) / 1000,
    acceptP99Ms: quantile(acceptMs, 0.99),
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    sample: ended.filter((_, at) => at % every === 0).map(({ id }) => id),
  };
}

process.on('message', (order: LoadOrder) => void run(order).then((report) => process.send?.(report)));
process.once('disconnect', () => process.exit(0));
