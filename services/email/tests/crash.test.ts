import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startBroker, type Broker } from './email-run.ts';

const ACK_WAIT_MS = 2_000;
let broker: Broker;
let smtp: ScriptedSmtp;
const processes: ChildProcess[] = [];
beforeAll(async () => {
  [broker, smtp] = await Promise.all([startBroker(ACK_WAIT_MS), startScriptedSmtp()]);
});
afterEach(async () => {
  for (const child of processes.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
  }
});
afterAll(async () => {
  await Promise.all([smtp?.close(), broker?.close()]);
});

/** The service as it is deployed: a process of its own. Resolves when it is running. */
async function startProcess(instance: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['src/main.ts'], {
    cwd: join(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      SLUICE_ENV: 'dev',
      NATS_URL: broker.nats.url,
      SMTP_URLS: smtp.url,
      OPS_PORT: '0',
      INSTANCE: instance,
      // Longer than it takes to notice that the first has sent it, and to kill it.
      SMTP_ATTEMPT_TIMEOUT_MS: '6000',
      RETRY_BASE_MS: '100',
      RETRY_MAX_MS: '1000',
      RETRY_ATTEMPTS: '50',
    },
  });
  processes.push(child);
  let log = '';
  const running = new Promise<void>((resolve) => {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (log.includes('"msg":"running"')) resolve();
    });
  });
  await running;
  return child;
}

describe('a process that dies between the server taking a mail and its record of it', () => {
  test('leaves a mail that another process sends again, once, under the same Message-ID, and says so', async () => {
    const first = await startProcess('dies');
    smtp.play({ body: [{ kind: 'delay', delayMs: 60_000 }] });
    await broker.ask({ jobId: 'job_crash', to: 'crash@example.com' });
    await expect.poll(() => smtp.mails.length).toBe(1);
    first.kill('SIGKILL');

    await startProcess('successor');
    const { result } = await broker.ended('job_crash');
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { ambiguous: true } });
    expect(smtp.mails).toHaveLength(2);
    const ids = new Set(smtp.mails.map(({ data }) => /^Message-ID: (.*)\r$/m.exec(data)?.[1]));
    expect(ids).toEqual(new Set(['<job_crash.0@sluice.example>']));
  });

  test('ends in order when it is asked to', async () => {
    const child = await startProcess('asked');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});
