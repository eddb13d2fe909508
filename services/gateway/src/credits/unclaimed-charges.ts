import { setTimeout as delay } from 'node:timers/promises';
import { jetstream, type JsMsg } from '@nats-io/jetstream';
import { channels } from '@sluice/contracts';
import { decoder, type Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import type { ChargeFinding, Credits } from './credits.ts';

const CONSUMER = 'charges';
const RETRY_MS = 5_000;
const BATCH = 100;
const LOOKED_AT_ONCE = 10;
/** Before the first look: what a start is for comes first. */
const REST_MS = 10_000;

/**
 * Looks at every charge once it is older than any request, and reverses those that pay for no job. Where it stands is
 * kept by the durable consumer, so a restart goes on where the last process was; several processes share the work.
 *
 * @returns a function that stops it and waits for the charges in hand.
 */
export function startUnclaimedCharges({
  bus,
  credits,
  log,
  graceMs,
}: {
  readonly bus: Bus;
  readonly credits: Credits;
  readonly log: Logger;
  readonly graceMs: number;
}): () => Promise<void> {
  const decode = decoder(channels.credits);
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<unknown> => delay(ms, undefined, { signal }).catch(() => undefined);

  async function check(message: JsMsg): Promise<ChargeFinding | undefined> {
    const storedMs = message.time.getTime();
    let entry: ReturnType<typeof decode>;
    try {
      entry = decode(message.data);
    } catch (error) {
      log.error({ err: error, sequence: message.seq }, 'an entry of the ledger cannot be read');
      message.term();
      return undefined;
    }
    const finding = await credits.checkCharge({ entry, sequence: message.seq }, storedMs);
    // Rounded up: a message that came back a moment early would wait a second time.
    if (finding === 'young') message.nak(Math.max(1, storedMs + graceMs - Date.now() + 1));
    else message.ack();
    if (finding === 'reversed') {
      const fields = { account: entry.account, job_id: entry.jobId, sequence: message.seq };
      log.warn(fields, 'a charge that pays for no job was reversed');
    }
    return finding;
  }

  async function checkAll(messages: readonly JsMsg[]): Promise<void> {
    let unverifiable = 0;
    for (let at = 0; at < messages.length; at += LOOKED_AT_ONCE) {
      const looks = messages.slice(at, at + LOOKED_AT_ONCE).map(async (message) => {
        const finding = await check(message).catch((error: unknown) => {
          log.warn({ err: error, sequence: message.seq }, 'a charge could not be checked and is checked again');
          message.nak(RETRY_MS);
          return undefined;
        });
        if (finding === 'unverifiable') unverifiable += 1;
      });
      await Promise.all(looks);
    }
    if (unverifiable === 0) return;
    const fields = { charges: unverifiable, from: messages[0]?.seq, to: messages.at(-1)?.seq };
    log.warn(fields, 'whether some charges pay for a job is not known any more: they stand');
  }

  async function follow(): Promise<void> {
    const consumer = await jetstream(bus.nc).consumers.get(channels.credits.stream, CONSUMER);
    while (!signal.aborted) {
      const found = await consumer.fetch({ max_messages: BATCH, expires: RETRY_MS });
      const stop = (): void => found.stop();
      signal.addEventListener('abort', stop, { once: true });
      const messages: JsMsg[] = [];
      for await (const message of found) messages.push(message);
      signal.removeEventListener('abort', stop);
      await checkAll(messages);
    }
  }

  const running = (async () => {
    await pause(Math.min(graceMs, REST_MS));
    while (!signal.aborted) {
      await follow().catch((error: unknown) => log.warn({ err: error }, 'charges cannot be checked for now'));
      await pause(RETRY_MS);
    }
  })();

  return async () => {
    stopping.abort();
    await running;
  };
}
