import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLoop, type LoadResult } from '../gateway/load.ts';

/** What the neighbour saw while it sent mails at its pace. */
export interface Seen extends LoadResult {
  /** Until the webhook of a mail was called; Infinity when it was not. */
  readonly webhookMs: number;
}

/** An account that does nothing wrong, in a process of its own: what the attacks cost is not its load's. */
export interface Neighbour {
  /** Mails for so many seconds, and one mail with a webhook. */
  send(seconds: number): Promise<Seen>;
  stop(): void;
}

export const MAILS_PER_SECOND = 40;
export const WEBHOOK_LIMIT_MS = 20_000;

interface Settings {
  readonly gatewayUrl: string;
  readonly key: string;
}

export async function startNeighbour(settings: Settings): Promise<Neighbour> {
  const child = fork(import.meta.filename, { stdio: 'inherit' });
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`the neighbour ended with ${code}`)));
  ended.catch(() => undefined);
  const answer = async (): Promise<unknown> => ((await Promise.race([once(child, 'message'), ended])) as [unknown])[0];
  child.send(settings);
  await answer();
  return {
    async send(seconds) {
      child.send(seconds);
      const seen = (await answer()) as Seen & { readonly webhookMs: number | null };
      return { ...seen, webhookMs: seen.webhookMs ?? Infinity };
    },
    stop: () => child.disconnect(),
  };
}

if (import.meta.main) {
  const [{ gatewayUrl, key }] = (await once(process, 'message')) as [Settings];
  const called = new Map<string, () => void>();
  const receiver = createServer((request, response) => {
    called.get(request.url ?? '')?.();
    response.end();
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  let sent = 0;
  const mail = (more: object = {}): string => {
    const to = `neighbour-${(sent += 1)}@example.com`;
    return JSON.stringify({ to, template: 'welcome', variables: { name: 'Ada' }, ...more });
  };

  const webhook = async (): Promise<number> => {
    const path = `/${(sent += 1)}`;
    const call = new Promise<true>((resolve) => called.set(path, () => resolve(true)));
    const beganMs = performance.now();
    // Express: it is about webhooks, and not about the mails of others that wait before its own.
    const body = mail({ callbackUrl: `http://127.0.0.1:${port}${path}`, priority: 'express' });
    const status = await fetch(`${gatewayUrl}/v1/emails`, { method: 'POST', headers, body }).then(
      async (answer) => {
        await answer.arrayBuffer();
        return answer.status;
      },
      () => 0,
    );
    const inTime = status === 202 && (await Promise.race([call, sleep(WEBHOOK_LIMIT_MS, false)]));
    called.delete(path);
    return inTime ? performance.now() - beganMs : Infinity;
  };

  process.on('message', (seconds: number) => {
    const request = { method: 'POST', path: '/v1/emails', headers, body: () => mail() };
    const load = openLoop(gatewayUrl, request, { perSecond: MAILS_PER_SECOND, seconds, connections: 16 });
    void Promise.all([load, webhook()]).then(([result, webhookMs]) => process.send?.({ ...result, webhookMs }));
  });
  process.once('disconnect', () => process.exit(0));
  process.send?.('ready');
}
