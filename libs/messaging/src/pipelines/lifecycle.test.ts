import { fromBinary } from '@bufbuild/protobuf';
import { eventsIn, LifecycleEventSchema } from '@sluice/contracts';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createBus, type Bus } from '../channels/bus.ts';
import { connectNats } from '../nats/connection.ts';
import { createLifecycle, type Lifecycle } from './lifecycle.ts';

let server: NatsProcess;
let bus: Bus;
const seen: { subject: string; events: string[] }[] = [];
beforeAll(async () => {
  server = await startNats();
  bus = await createBus(await connectNats({ url: server.url, name: 'email' }));
  bus.nc.subscribe('events.>', {
    callback: (_error, { subject, data }) => {
      const events = eventsIn(fromBinary(LifecycleEventSchema, data));
      expect(events.every(({ event }) => event.appId === 'email' && event.instance === 'email-1')).toBe(true);
      seen.push({ subject, events: events.map(({ event }) => event.event) });
    },
  });
  await bus.nc.flush();
});
afterAll(async () => {
  await bus?.close();
  await server?.stop();
});
beforeEach(() => void seen.splice(0));

const reporter = (): Lifecycle => createLifecycle(bus.port, { app: 'email', instance: 'email-1' });

test('what is said of a message in one run is sent as one, by its last word', async () => {
  const report = reporter();
  report('job_1', { event: 'received', mayWait: true });
  report('job_2', { event: 'received', mayWait: true });
  report('job_1', { event: 'attempt', mayWait: true });
  report('job_1', { event: 'acked' });
  await expect
    .poll(() => seen)
    .toEqual([
      { subject: 'events.email.job_1', events: ['received', 'attempt', 'acked'] },
      // Nothing followed.
      { subject: 'events.email.job_2', events: ['received'] },
    ]);
});

test('what waits is sent by a flush, and once', async () => {
  const report = reporter();
  report('job_3', { event: 'received', mayWait: true });
  report.flush();
  report.flush();
  report('job_3', { event: 'acked' });
  await expect.poll(() => seen.map(({ events }) => events)).toEqual([['received'], ['acked']]);
});

test('neither the events of a message nor the messages wait without a bound', async () => {
  const report = reporter();
  for (let n = 0; n < 20; n += 1) report('job_4', { event: `step_${n}`, mayWait: true });
  // The first are sent because they are many, the others because they have waited.
  await expect.poll(() => seen.map(({ events }) => events.length)).toEqual([16, 4]);
  for (let n = 0; n < 1_001; n += 1) report(`many_${n}`, { event: 'received', mayWait: true });
  report('last', { event: 'acked' });
  await expect.poll(() => seen.length).toBe(2 + 1_002);
  expect(seen.at(-1)?.subject).toBe('events.email.last');
});

test('what cannot be written is told to the log, and harms nothing', async () => {
  const unsent: unknown[] = [];
  const who = { app: 'email', instance: 'email-1', onUnsent: (error: unknown) => unsent.push(error) };
  const report = createLifecycle(bus.port, who);
  report('job_5', { event: 'attempt', attempt: -1, mayWait: true });
  report('job_6', { event: 'attempt', attempt: 0.5 });
  report('job_7', { event: 'acked' });
  await expect.poll(() => seen.map(({ subject }) => subject)).toEqual(['events.email.job_7']);
  report.flush();
  expect(unsent).toHaveLength(2);
});
