import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceNames, startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gatewayClient, until } from '../e2e/gateway-client.ts';

let directory: string;
let stack: Stack;
const lines = new Map<string, string[]>();
const ends: string[] = [];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-frozen-'));
  stack = await startStack({
    dataDirectory: directory,
    env: { '*': { DRAIN_TIMEOUT_MS: '6000' } },
    mailLatencyMs: 300,
    onLine: (name, line) => void lines.set(name, [...(lines.get(name) ?? []), line]),
    onProgress: (text) => void ends.push(text),
    // After the test.
    restartAfterMs: 600_000,
  });
});
afterAll(async () => {
  stack?.nats.resume();
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

// It took the gateway DRAIN_TIMEOUT_MS and five seconds, and it ended with 1 without a word of what it had waited for.
test('every service ends by SIGTERM while the broker is frozen, and says what was not done', async () => {
  const api = gatewayClient(stack.urls.gateway);
  const mails = Array.from({ length: 20 }, (_, n) =>
    api.accept(
      '/v1/emails',
      JSON.stringify({ to: `a${n}@example.com`, template: 'welcome', variables: { name: 'A' } }),
      {
        'content-type': 'application/json',
      },
    ),
  );
  await Promise.all(mails);
  stack.nats.pause();
  for (const service of stack.services) service.kill('SIGTERM');
  for (const name of serviceNames) {
    await until(`${name} has ended`, () => ends.some((text) => text.startsWith(`${name} ended`)), 60_000);
    const said = lines.get(name)?.join('\n') ?? '';
    const end = ends.find((text) => text.startsWith(`${name} ended`));
    // Where it is not, what it said of a fault is in the failure's text.
    const faults = said.split('\n').filter((line) => /"level":"(error|fatal)"/.test(line));
    expect(end, faults.join('\n')).toContain(`${name} ended (exit code 0)`);
    expect(said).not.toContain('stopping took too long');
    expect(said).toMatch(/"notDone":\[[^\]]*sending what is buffered to NATS/);
  }
});
