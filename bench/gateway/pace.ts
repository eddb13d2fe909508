// Mails at a fixed pace that is more than two cores can send: what the clients of the gateway notice of it.
import { join } from 'node:path';
import type { Row } from '../run.ts';
import { openLoop, type LoadRequest, type LoadResult } from './load.ts';
import { startStackProcess } from './stack-process.ts';

const PER_SECOND = 1_000;
const CONNECTIONS = 100;
const FACTOR = 5;

const fixed: LoadRequest = { method: 'GET', path: '/v1/static' };
let mails = 0;
const mail: LoadRequest = {
  method: 'POST',
  path: '/v1/emails',
  headers: { 'content-type': 'application/json' },
  body: () =>
    JSON.stringify({ to: `person-${(mails += 1)}@example.com`, template: 'welcome', variables: { name: 'Ada' } }),
};

/**
 * Every answer is 202 or a meant 503. The same static route is asked at the same pace on a machine at rest, and again
 * right after the mails, while their backlog is worked off: that is what the machine itself adds when it is full.
 */
export async function mailPace(directory: string, bareUrl: string, quick: boolean): Promise<Row[]> {
  const pace = { perSecond: PER_SECOND, seconds: quick ? 10 : 30, connections: CONNECTIONS };
  const rows: Row[] = [];
  // Warm, and before anything else runs.
  await openLoop(bareUrl, fixed, { ...pace, seconds: 3 });
  const atRest = await openLoop(bareUrl, fixed, { ...pace, seconds: 10 });
  for (const split of [true, false]) {
    const name = split ? 'emails_1000' : 'emails_1000_one_process';
    const stack = await startStackProcess({
      dataDirectory: join(directory, name),
      services: ['gateway', 'email', 'client'],
      splitGateway: split,
      env: { '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' }, email: { CONCURRENCY: '64' } },
    });
    try {
      await openLoop(stack.urls.gateway, mail, { ...pace, perSecond: 200, seconds: 3 });
      const run = await openLoop(stack.urls.gateway, mail, pace);
      const besides = await openLoop(bareUrl, fixed, { ...pace, seconds: 5 });
      const unmeant = others(run, '202', '503');
      const p99 = (id: string, of: LoadResult, what: string): Row => {
        const ratio = run.p99Ms / of.p99Ms;
        return { id, value: of.p99Ms, unit: what, ratio, floor: FACTOR, pass: ratio <= FACTOR };
      };
      rows.push(
        { id: `gateway.${name}_p50`, value: run.p50Ms, unit: 'ms', pass: true },
        { id: `gateway.${name}_p99`, value: run.p99Ms, unit: 'ms', pass: true },
        p99(`gateway.${name}_static_full`, besides, `ms p99 of a static route, machine as full; at most ${FACTOR}x`),
        p99(`gateway.${name}_static_rest`, atRest, `ms p99 of a static route, machine at rest; at most ${FACTOR}x`),
        { id: `gateway.${name}_accepted`, value: run.statuses['202'] ?? 0, unit: 'answers 202', pass: true },
        { id: `gateway.${name}_refused`, value: run.statuses['503'] ?? 0, unit: 'answers 503', pass: true },
        { id: `gateway.${name}_unmeant`, value: unmeant, unit: 'other answers', pass: unmeant === 0 },
      );
    } finally {
      await stack.stop();
    }
  }
  return rows;
}

const others = ({ statuses }: LoadResult, ...meant: readonly string[]): number =>
  Object.entries(statuses).reduce((sum, [status, seen]) => sum + (meant.includes(status) ? 0 : seen), 0);
