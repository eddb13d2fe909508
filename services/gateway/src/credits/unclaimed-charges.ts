import { setTimeout as delay } from 'node:timers/promises';
import { jetstream, type ConsumerMessages, type JsMsg } from '@nats-io/jetstream';
import { channels } from '@sluice/contracts';
import { decoder, type Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import type { Credits } from './credits.ts';

const CONSUMER = 'charges';
const RETRY_MS = 5_000;
const BATCH = 100;

/**
 * Looks at every charge once it is older than any request, and reverses those that pay for no job. Where it stands is
 * kept by the durable consumer, so a restart goes on where the last process was; several processes share the work.
 *
 * @returns a function that stops it and waits for the charge in hand.
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
  let messages: ConsumerMessages | undefined;

  async function check(message: JsMsg): Promise<void> {
    const storedMs = message.time.getTime();
    let entry: ReturnType<typeof decode>;
    try {
      entry = decode(message.data);
    } catch (error) {
      log.error({ err: error, sequence: message.seq }, 'an entry of the ledger cannot be read');
      message.term();
      return;
    }
    const finding = await credits.checkCharge({ entry, sequence: message.seq }, storedMs);
    // Rounded up: a message that came back a moment early would wait a second time.
    if (finding === 'young') message.nak(Math.max(1, storedMs + graceMs - Date.now() + 1));
    else message.ack();
    const fields = { account: entry.account, job_id: entry.jobId, sequence: message.seq };
    if (finding === 'reversed') log.warn(fields, 'a charge that pays for no job was reversed');
    if (finding === 'unverifiable')
      log.warn(fields, 'whether a charge pays for a job is not known any more: it stands');
  }

  async function follow(): Promise<void> {
    const consumer = await jetstream(bus.nc).consumers.get(channels.credits.stream, CONSUMER);
    messages = await consumer.consume({ max_messages: BATCH, expires: RETRY_MS });
    if (stopping.signal.aborted) messages.stop();
    for await (const message of messages) {
      await check(message).catch((error: unknown) => {
        log.warn({ err: error, sequence: message.seq }, 'a charge could not be checked and is checked again');
        message.nak(RETRY_MS);
      });
    }
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      await follow().catch((error: unknown) => log.warn({ err: error }, 'charges cannot be checked for now'));
      await delay(RETRY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  })();

  return async () => {
    stopping.abort();
    messages?.stop();
    await running;
  };
}
