import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startScriptedSmtp, startStack, type ScriptedSmtp, type Stack } from '@sluice/dev';
import { connectNats, createBus } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayClient, until } from '../e2e/gateway-client.ts';
import { drained, duplicateMails, violations } from './invariants.ts';
import { untilReady } from './kills.ts';
import { load, type Accepted } from './load.ts';
import { mixedRequests } from './requests.ts';

let directory: string;
let stack: Stack;
let picture: Buffer;
let large: Buffer;
const everything: Accepted[] = [];
/** What the services complained of: shown with a failure. */
const complaints: string[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-faults-'));
  picture = await readFile(join(import.meta.dirname, '../../samples/scan.png'));
  // Over 256 KiB it goes through the store, as most pictures do.
  large = Buffer.concat([picture, Buffer.alloc(Math.max(0, 300_000 - picture.length))]);
  const onLine = (name: string, line: string) => {
    if (!/"level":"(info|debug)"/.test(line)) complaints.push(`${name} ${line}`);
  };
  stack = await startStack({ dataDirectory: directory, onLine });
});
afterAll(async () => {
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

const service = (name: string) => {
  const found = stack.services.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
};

/** What became of the attempts of a load that still runs. */
interface Seen {
  accepted: number;
  turnedAway: number;
}

/**
 * Runs load while something breaks, then heals, drains and looks at everything accepted so far. The load begins before
 * the fault and ends after it, however quick the machine.
 */
async function under(fault: (seen: Readonly<Seen>) => Promise<void>, count = 40): Promise<void> {
  complaints.length = 0;
  const seen: Seen = { accepted: 0, turnedAway: 0 };
  const over = new AbortController();
  const running = load(stack.urls.gateway, mixedRequests(count, large, over.signal), {
    pauseMs: 100,
    onAttempt: (became) => (seen[became === 'accepted' ? 'accepted' : 'turnedAway'] += 1),
  });
  await until('some are accepted', () => seen.accepted >= count / 8);
  try {
    await fault(seen);
  } finally {
    over.abort();
  }
  const { accepted, unexpected } = await running;
  everything.push(...accepted);
  expect(unexpected, complaints.join('\n')).toEqual({});
  expect(accepted.length).toBeGreaterThanOrEqual(count);
  await drained(stack);
  const api = gatewayClient(stack.urls.gateway);
  for (const { jobId } of accepted) await api.ended(jobId);
  expect(await violations(stack, everything)).toEqual([]);
}

describe('nothing accepted is lost or doubled', () => {
  test('when nothing is wrong', async () => {
    await under(() => Promise.resolve());
    expect(duplicateMails(stack, everything)).toBe(0);
  });

  test('when the broker is killed under load', async () => {
    await under(async (seen) => {
      await stack.nats.kill();
      const before = seen.turnedAway;
      await until('clients are turned away', () => seen.turnedAway > before);
      await sleep(1_500);
      await stack.nats.restart();
    });
  });

  test('when the broker stalls for six seconds', async () => {
    await under(async () => {
      stack.nats.pause();
      await sleep(6_000);
      stack.nats.resume();
    });
  });

  test('when the gateway is killed twice under load', async () => {
    await under(async () => {
      const gateway = service('gateway');
      const { pid } = gateway;
      gateway.kill('SIGKILL');
      await until('another process is there', () => gateway.pid !== undefined && gateway.pid !== pid);
      await untilReady(gateway);
      gateway.kill('SIGKILL');
    });
  });

  test('when the mail service is killed under load', async () => {
    const before = duplicateMails(stack, everything);
    await under(async () => {
      service('email').kill('SIGKILL');
      await Promise.resolve();
    });
    // What was between the server's 250 and our note of it: as many as were in hand at most.
    expect(duplicateMails(stack, everything) - before).toBeLessThanOrEqual(20);
  });

  test('when the object store refuses connections for a while', async () => {
    await under(async () => {
      await stack.s3.refuseConnections();
      await sleep(3_000);
      await stack.s3.acceptConnections();
    });
  });

  test('when every service is restarted in turn', async () => {
    await under(async () => {
      for (const one of stack.services) {
        one.kill('SIGTERM');
        await sleep(1_000);
      }
    });
  });
});

describe('a message that cannot be read', () => {
  test('is a dead letter at once, and its neighbours do not notice', async () => {
    const nc = await connectNats({ url: stack.nats.url, name: 'poisoner' });
    const bus = await createBus(nc);
    const subjects = ['image.convert.binary', 'email.send.welcome', 'client.image.converted', 'user.email.sent'];
    const before = (await bus.jsm.streams.info('DLQ')).state.messages;
    for (const subject of subjects)
      await bus.port.publish(subject, Buffer.from([0xff, 0xff, 0xff, 0x07]), { id: `poison-${subject}` });
    await under(() => Promise.resolve(), 10);
    await until(
      'all are dead letters',
      async () => (await bus.jsm.streams.info('DLQ')).state.messages === before + subjects.length,
    );
    await bus.close();
  });
});

describe('a mail server that takes a mail and loses the connection', () => {
  let smtp: ScriptedSmtp;
  let other: Stack;
  let data: string;
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'sluice-faults-mail-'));
    smtp = await startScriptedSmtp();
    other = await startStack({ dataDirectory: data, smtpUrls: smtp.url, services: ['gateway', 'email', 'client'] });
  });
  afterAll(async () => {
    await other?.stop();
    await smtp?.close();
    await rm(data, { recursive: true, force: true });
  });

  test('may get a second copy, with the same Message-ID', async () => {
    smtp.play({ body: [{ kind: 'drop', stored: true }] });
    const api = gatewayClient(other.urls.gateway);
    const json = { 'content-type': 'application/json' };
    const mail = { to: 'twice@example.com', template: 'notification', variables: { title: 'Hi', message: 'Hello' } };
    const job = await api.ended((await api.accept('/v1/emails', JSON.stringify(mail), json)).id);
    expect(job.state).toBe('succeeded');
    const ids = smtp.mails.map(({ data }) => /^Message-ID: (.*)$/im.exec(data)?.[1]);
    expect(ids.length).toBeGreaterThanOrEqual(1);
    expect(new Set(ids).size).toBe(1);
  });
});
