import { createHash } from 'node:crypto';
import { JobState } from '@sluice/contracts';
import { isTerminal, mayMove, stateName } from '@sluice/jobs';
import { connectNats, createBus, jobStreamsNow, topologyOf, type Bus, type Topology } from '@sluice/messaging';
import type { Stack } from '@sluice/dev';
import { createStore } from '@sluice/storage';
import { until } from '../e2e/gateway-client.ts';
import { jobEvents } from './ledger.ts';
import type { Accepted } from './load.ts';

/** What must hold after every fault, once healed and drained. Everything that does not is a line. */
export async function violations(stack: Stack, accepted: readonly Accepted[]): Promise<readonly string[]> {
  const nc = await connectNats({ url: stack.nats.url, name: 'invariants' });
  const bus = await createBus(nc);
  const { url, region, accessKeyId, secretAccessKey } = stack.s3;
  const store = createStore({ endpoint: url, region, bucket: 'sluice', accessKeyId, secretAccessKey });
  const found: string[] = [];
  try {
    const histories = new Map<string, JobState[]>();
    const results = new Map<string, string>();
    for await (const { id, state, result } of jobEvents(bus)) {
      histories.set(id, [...(histories.get(id) ?? []), state]);
      if (result?.work.case === 'image') results.set(id, result.work.value.sha256);
    }

    // Accepted is a subset of ended; one end each; only legal moves.
    for (const { jobId } of accepted) {
      const states = histories.get(jobId) ?? [];
      const ends = states.filter(isTerminal);
      if (ends.length !== 1) found.push(`${jobId} has ${ends.length} ends: ${states.map(stateName).join(' -> ')}`);
    }
    for (const [id, states] of histories) {
      states.reduce((from, to) => {
        if (!mayMove(from, to)) found.push(`${id} moved ${stateName(from)} -> ${stateName(to)}`);
        return to;
      });
      if (states[0] !== JobState.ACCEPTED) found.push(`${id} came from nowhere: ${states.map(stateName).join(' -> ')}`);
    }

    // One PDF per image that succeeded, with the bytes the job speaks of; none for any other.
    const pdfs = new Set((await Array.fromAsync(store.list('pdf/'))).map(({ key }) => key));
    for (const [id, sha256] of results) {
      if (!pdfs.delete(`pdf/${id}.pdf`)) {
        found.push(`${id} has no PDF`);
        continue;
      }
      const hash = createHash('sha256');
      for await (const chunk of (await store.get(`pdf/${id}.pdf`)).body as AsyncIterable<Buffer>) hash.update(chunk);
      if (hash.digest('hex') !== sha256) found.push(`the PDF of ${id} has other bytes than its job says`);
    }
    for (const key of pdfs) found.push(`${key} belongs to no job that succeeded`);

    // One mail at least for each that succeeded, and copies carry one Message-ID.
    const mails = messageIds(stack);
    for (const { jobId, to } of accepted) {
      if (to === undefined || histories.get(jobId)?.at(-1) !== JobState.SUCCEEDED) continue;
      const ids = mails.get(to) ?? [];
      if (ids.length === 0) found.push(`${jobId}: no mail arrived`);
      if (new Set(ids).size > 1) found.push(`${jobId}: copies with different Message-IDs`);
    }
  } finally {
    store.close();
    await bus.close();
  }
  return found;
}

/** How many copies of mails arrived beyond one each. */
export function duplicateMails(stack: Stack, accepted: readonly Accepted[]): number {
  const mails = messageIds(stack);
  return accepted.reduce(
    (copies, { to }) => copies + (to === undefined ? 0 : Math.max(0, (mails.get(to)?.length ?? 0) - 1)),
    0,
  );
}

/** The Message-ID of every copy that arrived, by recipient. */
function messageIds(stack: Stack): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const { envelopeTo, messageId } of stack.mail.mailbox.all()) {
    for (const to of envelopeTo) found.set(to, [...(found.get(to) ?? []), messageId]);
  }
  return found;
}

/** Resolves when every work queue is empty: nothing waits, nothing is held, nothing is stranded. */
export const drained = (stack: Stack, timeoutMs = 240_000): Promise<void> =>
  untilNothing(stack, timeoutMs, 'every work queue is empty', (bus, { streams }) =>
    streams
      .filter(({ kind }) => kind === 'work')
      .map(async ({ name }) => (await bus.jsm.streams.info(name)).state.messages),
  );

/**
 * Resolves when every event of every job was reacted to and every dead letter has settled its job: refunds are paid
 * then. What a killed process held comes back after the consumers' ack wait of 30 s.
 */
export const settled = (stack: Stack, timeoutMs = 240_000): Promise<void> =>
  untilNothing(stack, timeoutMs, 'every event was reacted to', (bus, { streams }) =>
    streams
      .filter(({ kind }) => kind === 'log')
      .flatMap(({ name: stream, consumers }) =>
        // Charges wait ten minutes before they are looked at; the tests look at them themselves.
        consumers
          .filter(({ name }) => name !== 'charges')
          .map(async ({ name }) => {
            const { num_pending, num_ack_pending } = await bus.jsm.consumers.info(stream, name);
            return num_pending + num_ack_pending;
          }),
      ),
  );

async function untilNothing(
  stack: Stack,
  timeoutMs: number,
  what: string,
  left: (bus: Bus, topology: Topology) => readonly Promise<number>[],
): Promise<void> {
  const bus = await createBus(await connectNats({ url: stack.nats.url, name: 'drained' }));
  try {
    const topology = topologyOf((await jobStreamsNow(bus.jsm)).length);
    await until(what, async () => (await Promise.all(left(bus, topology))).every((count) => count === 0), timeoutMs);
  } finally {
    await bus.close();
  }
}
