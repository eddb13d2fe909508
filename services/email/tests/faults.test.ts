import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shortTimeouts, startBroker, type Broker, type EmailProcess } from './email-run.ts';
import { faultGroups, runFault, startServers, type Servers } from './fault-matrix.ts';

let broker: Broker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker?.close());

describe.each(faultGroups)('an SMTP server that misbehaves, $title', ({ urls, faults }) => {
  let servers: Servers;
  let email: EmailProcess;
  beforeAll(async () => {
    servers = await startServers();
    // One fault at a time is looked at here; what many of them do to a provider's breaker has a suite of its own.
    email = await broker.email(urls(servers), {
      tuning: { ...shortTimeouts, breaker: { minAttempts: 20, window: 20 } },
    });
  });
  afterAll(async () => {
    await email?.stop();
    await Promise.all([servers?.a.close(), servers?.b.close()]);
  });

  test.each(faults)('$name', async (fault) => {
    const { attempts, ...row } = await runFault(broker, servers, fault);
    const { attempts: expectedAttempts, ...expected } = fault.expected;
    expect(row).toEqual({ fault: fault.name, ...expected });
    // 0 stands for "as many as the outage took".
    if (expectedAttempts > 0) expect(attempts).toBe(expectedAttempts);
  });
});
