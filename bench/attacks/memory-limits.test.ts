import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLimits } from './memory-limits.ts';

const COMPOSE = join(import.meta.dirname, '../../docker-compose.yml');
const SMALL = join(import.meta.dirname, '../../deploy/compose/small.yml');

test('the profile of a small machine limits every service and the broker to 256 MB, and names services that there are', () => {
  const small = readLimits(SMALL);
  expect([...small].map(([name, { limitBytes }]) => [name, limitBytes / 2 ** 20])).toEqual(
    ['gateway', 'image', 'email', 'client', 'nats'].map((name) => [name, 256]),
  );
  for (const name of small.keys()) expect([...readLimits(COMPOSE).keys()]).toContain(name);
});

test('every Node service of it is told how large its heap may be', () => {
  for (const [name, { environment }] of readLimits(SMALL)) {
    if (name !== 'nats') expect(environment['NODE_OPTIONS']).toMatch(/--max-old-space-size=\d+/);
  }
});
