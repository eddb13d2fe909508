import { expect, test } from 'vitest';
import { stagesOf } from './stages.ts';

const at = (ms: number) => new Date(1_000_000 + ms).toISOString();
const timeline = (sent: number) => [
  { at: at(sent), event: 'effect_done', app: 'email', pipeline: 'welcome_mailer' },
  { at: at(0), event: 'accepted', app: 'gateway' },
  { at: at(5), event: 'published', app: 'gateway' },
  { at: at(sent + 2), event: 'succeeded', app: 'gateway' },
];

test('a stage takes from the event before it, in the order of time, and the middle of the jobs counts', () => {
  expect(stagesOf([timeline(10), timeline(25), timeline(12)])).toEqual([
    { name: 'gateway.published', p50Ms: 5, p99Ms: 5 },
    { name: 'email.welcome_mailer.effect_done', p50Ms: 7, p99Ms: 20 },
    { name: 'gateway.succeeded', p50Ms: 2, p99Ms: 2 },
  ]);
});

test('what only a few jobs have is left out', () => {
  const retried = [...timeline(10), { at: at(7), event: 'retry_scheduled', app: 'email' }];
  expect(stagesOf([timeline(10), timeline(10), retried]).map(({ name }) => name)).not.toContain(
    'email.retry_scheduled',
  );
});
