import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobEventSchema, JobKind, JobSchema, JobState, LifecycleEventSchema, type Job } from '@sluice/contracts';
import { newJobId } from '@sluice/jobs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MESSAGES_WINDOW } from '../../src/history/rows/search.ts';
import { pack, type StoredMessage } from '../../src/history/packed-messages.ts';
import {
  PositionMovedError,
  type JobCursor,
  type JobFilter,
  type ProjectedStream,
  type ReadModel,
} from '../../src/history/read-model.ts';

/** What a test says of a job. */
type JobInit = Exclude<MessageInitShape<typeof JobSchema>, Job>;

const START_MS = Date.UTC(2026, 10, 1);

/** An event of a job, stored at a time: `{}` is a mail of `acme` that was accepted. */
export function jobEvent(
  sequence: number,
  job: JobInit & { id: string },
  storedMs = START_MS + sequence,
): StoredMessage {
  const at = timestampFromMs(storedMs);
  const snapshot: JobInit = {
    account: 'acme',
    kind: JobKind.EMAIL,
    state: JobState.ACCEPTED,
    createdAt: at,
    updatedAt: at,
    ...job,
  };
  return { sequence, storedMs, data: toBinary(JobEventSchema, create(JobEventSchema, { job: snapshot, at })) };
}

export const mailTo = (to: string): JobInit => ({
  request: { work: { case: 'email', value: { to, template: 'welcome' } } },
});

export const lifecycleEvent = (
  sequence: number,
  [appId, messageId, event]: readonly [string, string, string],
  attempt = 0,
  storedMs = START_MS + sequence,
): StoredMessage => ({
  sequence,
  storedMs,
  data: toBinary(LifecycleEventSchema, create(LifecycleEventSchema, { appId, messageId, event, attempt })),
});

/** Hands messages in, as a projection does. */
export async function takeIn(model: ReadModel, stream: ProjectedStream, messages: readonly StoredMessage[]) {
  const lastSequence = messages.at(-1)?.sequence ?? 0;
  const { after } = await model.follow(stream, { created: 'first', lastSequence: Math.max(lastSequence, 1e9) });
  return model.apply({ stream, after, messages: pack(messages) });
}

const jobOf = (told: Uint8Array | undefined): Job => fromBinary(JobSchema, told!);

const all = async (model: ReadModel, filter: Partial<JobFilter> = {}): Promise<string[]> => {
  const ids: string[] = [];
  let cursor: JobCursor | undefined;
  do {
    const page = await model.jobs({ account: 'acme', limit: 50, ...filter, cursor });
    ids.push(...page.jobs.map(({ id }) => id));
    cursor = page.next;
  } while (cursor !== undefined);
  return ids;
};

/** What every read model must do, on a store of its own that is empty for each test. */
export function readModelConformance(open: () => Promise<ReadModel>): void {
  let model: ReadModel;
  beforeEach(async () => {
    model = await open();
  });
  afterEach(() => model?.close());

  describe('lists', () => {
    test('are newest first, a page at a time, each job once, and of one account', async () => {
      const ids = Array.from({ length: 23 }, newJobId);
      // Several of one millisecond, which a page may end between.
      await takeIn(
        model,
        'JOBS',
        ids.map((id, i) => jobEvent(i + 1, { id }, START_MS + Math.floor(i / 4))),
      );
      await takeIn(model, 'JOBS', [jobEvent(99, { id: newJobId(), account: 'globex' })]);
      const found = await all(model, { limit: 5 });
      expect(found.toSorted()).toEqual(ids.toSorted());
      const times = new Map(ids.map((id, i) => [id, Math.floor(i / 4)]));
      expect(found.map((id) => times.get(id))).toEqual([...times.values()].sort((a, b) => b - a));
    });

    test('are filtered by every field alone and together', async () => {
      const [sent, other, failed, image] = [newJobId(), newJobId(), newJobId(), newJobId()];
      const error = { code: 'smtp_rejected', detail: '550' };
      await takeIn(model, 'JOBS', [
        jobEvent(1, { id: sent, ...mailTo('ada@example.com'), state: JobState.SUCCEEDED }),
        jobEvent(2, { id: other, ...mailTo('bob@example.com') }),
        jobEvent(3, { id: failed, ...mailTo('ada@example.com'), state: JobState.FAILED, error }),
        jobEvent(4, {
          id: image,
          kind: JobKind.IMAGE,
          notify: 'ada@example.com',
          fileNames: ['Scan 1.png', 'b.png'],
          callbackUrl: 'https://example.com/hook',
          metadata: { order: '17', team: 'red' },
        }),
      ]);
      expect(await all(model, { state: 'succeeded' })).toEqual([sent]);
      expect(await all(model, { kind: 'image' })).toEqual([image]);
      expect(await all(model, { recipient: 'ADA@example.com' })).toEqual([image, failed, sent]);
      expect(await all(model, { error: 'smtp_rejected' })).toEqual([failed]);
      expect(await all(model, { fileName: 'SCAN 1.PNG' })).toEqual([image]);
      expect(await all(model, { webhook: true })).toEqual([image]);
      expect(await all(model, { metadata: { order: '17' } })).toEqual([image]);
      expect(await all(model, { metadata: { order: '17', team: 'blue' } })).toEqual([]);
      expect(await all(model, { metadata: { order: '1' }, kind: 'image' })).toEqual([]);
      expect(await all(model, { sinceMs: START_MS + 2, untilMs: START_MS + 4 })).toEqual([failed, other]);
      expect(await all(model, { recipient: 'ada@example.com', state: 'failed', kind: 'email' })).toEqual([failed]);
      expect(await all(model, { recipient: 'ada@example.com', state: 'failed', kind: 'image' })).toEqual([]);
      expect(await all(model, { recipient: 'eve@example.com' })).toEqual([]);
      expect(await all(model, { account: 'globex', recipient: 'ada@example.com' })).toEqual([]);
    });

    test('find the few jobs that several frequent filters share, a stretch of the history at a time', async () => {
      const ids = Array.from({ length: 11_000 }, newJobId);
      const isWanted = (i: number): boolean => i === 17 || i === 10_003;
      const events = ids.map((id, i) =>
        jobEvent(i + 1, {
          id,
          kind: i % 2 === 0 || isWanted(i) ? JobKind.EMAIL : JobKind.IMAGE,
          state: i % 2 === 1 ? JobState.CANCELLED : JobState.SUCCEEDED,
        }),
      );
      for (let from = 0; from < events.length; from += 1_000) {
        await takeIn(model, 'JOBS', events.slice(from, from + 1_000));
      }
      expect(await all(model, { state: 'cancelled', kind: 'email' })).toEqual([ids[10_003], ids[17]]);
      const first = await model.jobs({ account: 'acme', state: 'cancelled', kind: 'email', limit: 50 });
      expect(first.jobs.map(({ id }) => id)).toEqual([ids[10_003]]);
      expect(await model.counts('acme')).toEqual({ succeeded: 5_500, cancelled: 5_500 });
      expect(await model.counts('acme', 'email')).toEqual({ succeeded: 5_500, cancelled: 2 });
    });
  });

  describe('a job', () => {
    test('is the same in any order that two streams are read in, and after a repeat', async () => {
      const [id, waiting] = [newJobId(), newJobId()];
      const jobs = [jobEvent(1, { id }), jobEvent(2, { id: waiting })];
      const events = [
        lifecycleEvent(1, ['email', id, 'received'], 1, START_MS + 10),
        lifecycleEvent(2, ['email', id, 'attempt'], 1, START_MS + 11),
        // Not its worker: it is not asked.
        lifecycleEvent(3, ['image', waiting, 'attempt'], 1, START_MS + 12),
      ];
      await takeIn(model, 'JOBS', jobs);
      await takeIn(model, 'EVENTS', events);
      const [shown] = (await model.jobs({ account: 'acme', state: 'running', limit: 9 })).jobs;
      expect(shown).toMatchObject({ id, state: 'running', attempt: 1 });
      expect(await model.counts('acme')).toEqual({ accepted: 1, running: 1 });
      const other = await open();
      try {
        await takeIn(other, 'EVENTS', events);
        await takeIn(other, 'JOBS', jobs);
        // A repeat, as by a projector that died after its transaction.
        await other.follow('JOBS', { created: 'first', lastSequence: 1 });
        await takeIn(other, 'JOBS', jobs);
        expect(await other.jobs({ account: 'acme', limit: 9 })).toEqual(
          await model.jobs({ account: 'acme', limit: 9 }),
        );
        expect(await other.counts('acme')).toEqual(await model.counts('acme'));
      } finally {
        await other.close();
      }
    });

    test('is found in the state it is in now, and in no other', async () => {
      const id = newJobId();
      await takeIn(model, 'JOBS', [jobEvent(1, { id }), jobEvent(2, { id, state: JobState.QUEUED })]);
      await takeIn(model, 'JOBS', [
        jobEvent(3, { id, state: JobState.SUCCEEDED, createdAt: timestampFromMs(START_MS) }),
      ]);
      expect(await all(model, { state: 'succeeded' })).toEqual([id]);
      expect(await all(model, { state: 'accepted' })).toEqual([]);
      expect(await all(model, { state: 'queued' })).toEqual([]);
      expect(await all(model)).toEqual([id]);
      expect(await model.counts('acme')).toEqual({ succeeded: 1 });
    });

    test('is answered for its own account alone', async () => {
      const id = newJobId();
      await takeIn(model, 'JOBS', [jobEvent(1, { id })]);
      expect(jobOf(await model.job('acme', id))).toMatchObject({ id, state: JobState.ACCEPTED });
      expect(await model.job('globex', id)).toBeUndefined();
      expect(await model.job('acme', newJobId())).toBeUndefined();
    });

    test('that is open is listed for the reconciler, oldest first, until it ends or is forgotten', async () => {
      const ids = Array.from({ length: 5 }, newJobId);
      await takeIn(
        model,
        'JOBS',
        ids.map((id, i) => jobEvent(i + 1, { id })),
      );
      await takeIn(model, 'JOBS', [jobEvent(6, { id: ids[1]!, state: JobState.FAILED })]);
      await model.forget(ids[2]!);
      const first = await model.openJobs(START_MS + 5, 1);
      expect(first.map(({ id }) => id)).toEqual([ids[0]]);
      expect((await model.openJobs(START_MS + 5, 9, first[0])).map(({ id }) => id)).toEqual([ids[3]]);
      expect(await model.open()).toEqual([{ kind: 'email', count: 3, oldestMs: START_MS + 1 }]);
      expect(await all(model)).not.toContain(ids[2]);
    });
  });

  describe('the position', () => {
    test('moves with the batch, and a batch that does not follow it is refused', async () => {
      const look = { created: 'first', lastSequence: 10 };
      expect(await model.follow('JOBS', look)).toEqual({ after: 0, leads: true });
      const batch = pack([jobEvent(7, { id: newJobId() })]);
      await model.apply({ stream: 'JOBS', after: 0, messages: batch });
      expect(await model.follow('JOBS', look)).toEqual({ after: 7, leads: true });
      expect(await model.follow('EVENTS', look)).toEqual({ after: 0, leads: true });
      const stale = { stream: 'JOBS' as const, after: 0, messages: pack([jobEvent(8, { id: newJobId() })]) };
      await expect(model.apply(stale)).rejects.toThrow(PositionMovedError);
      expect(await all(model)).toHaveLength(1);
    });

    test('begins again on a stream that was made again or restored, whose events are all newer', async () => {
      const [kept, moved] = [newJobId(), newJobId()];
      await takeIn(model, 'JOBS', [jobEvent(5, { id: kept }), jobEvent(6, { id: moved })]);
      expect((await model.follow('JOBS', { created: 'second', lastSequence: 100 })).after).toBe(0);
      const messages = pack([
        jobEvent(1, { id: moved, state: JobState.FAILED, createdAt: timestampFromMs(START_MS + 6) }),
      ]);
      await model.apply({ stream: 'JOBS', after: 0, messages });
      expect(await all(model)).toEqual([moved, kept]);
      expect(await all(model, { state: 'failed' })).toEqual([moved]);
      // Shorter than what was read of it: an older state.
      expect((await model.follow('JOBS', { created: 'second', lastSequence: 0 })).after).toBe(0);
    });

    test('passes over what cannot be read, and says so', async () => {
      const id = newJobId();
      const broken = { sequence: 2, storedMs: START_MS, data: Buffer.from('no event') };
      expect(await takeIn(model, 'JOBS', [jobEvent(1, { id }), broken])).toEqual({ unreadable: [2] });
      expect((await model.follow('JOBS', { created: 'first', lastSequence: 9 })).after).toBe(2);
      expect(await all(model)).toEqual([id]);
    });
  });

  describe('what ends an entry', () => {
    test('ended jobs go after their time, a bounded number at once, and open ones stay', async () => {
      const ids = Array.from({ length: 9 }, newJobId);
      await takeIn(
        model,
        'JOBS',
        ids.map((id, i) => jobEvent(i + 1, { id, state: i === 0 ? JobState.ACCEPTED : JobState.SUCCEEDED })),
      );
      await takeIn(model, 'EVENTS', [
        lifecycleEvent(1, ['shop', 'order-1', 'paid']),
        lifecycleEvent(2, ['email', newJobId(), 'attempt'], 1),
      ]);
      let deleted = 0;
      for (let step = 0; step < 20; step += 1) {
        // The clock of the broker is known to fractions of a millisecond.
        const count = await model.prune(START_MS + 6.25, 2);
        expect(count).toBeLessThanOrEqual(2);
        deleted += count;
        if (count < 2) break;
      }
      expect(deleted).toBe(5 + 2);
      expect(await all(model)).toEqual([ids[8], ids[7], ids[6], ids[0]]);
      expect(await model.counts('acme')).toEqual({ accepted: 1, succeeded: 3 });
      expect(await model.usage()).toMatchObject({ jobs: 4 });
      expect(await model.incomplete('shop', ['paid', 'sent'], 9)).toEqual({ messages: [] });
    });

    test('a person who was erased is not found again, also by events that come later', async () => {
      const [id, other] = [newJobId(), newJobId()];
      const details = {
        ...mailTo('ada@example.com'),
        notify: 'ada@example.com',
        metadata: { name: 'Ada' },
        fileNames: ['ada.png'],
      };
      await takeIn(model, 'JOBS', [
        jobEvent(1, { id, ...details }),
        jobEvent(2, { id: other, ...mailTo('bob@example.com') }),
      ]);
      await takeIn(model, 'JOBS', [jobEvent(3, { id: newJobId(), account: 'globex', ...details })]);
      expect(await model.eraseRecipient('Ada@example.com')).toBe(2);
      expect(await all(model, { recipient: 'ada@example.com' })).toEqual([]);
      await takeIn(model, 'JOBS', [
        jobEvent(4, { id, ...details, state: JobState.SUCCEEDED, createdAt: timestampFromMs(START_MS + 1) }),
      ]);
      expect(await all(model, { recipient: 'ada@example.com' })).toEqual([]);
      expect(await all(model, { account: 'globex', recipient: 'ada@example.com' })).toEqual([]);
      expect(await all(model)).toEqual([other, id]);
      expect(await all(model, { fileName: 'ada.png' })).toEqual([]);
      expect(await all(model, { metadata: { name: 'Ada' } })).toEqual([]);
      const told = await model.job('acme', id);
      expect(jobOf(told)).toMatchObject({ state: JobState.SUCCEEDED });
      expect(Buffer.from(told!).toString().toLowerCase()).not.toContain('ada');
      expect(await all(model, { recipient: 'bob@example.com' })).toEqual([other]);
      expect(await model.eraseRecipient('ada@example.com')).toBe(0);
    });
  });

  test('messages of apps are listed while they lack declared events', async () => {
    await takeIn(model, 'EVENTS', [
      lifecycleEvent(1, ['shop', 'm1', 'a']),
      lifecycleEvent(2, ['shop', 'm2', 'a']),
      lifecycleEvent(3, ['shop', 'm2', 'b']),
      lifecycleEvent(4, ['shop', 'm3', 'b']),
      lifecycleEvent(5, ['other', 'm4', 'a']),
    ]);
    expect(await model.incomplete('shop', ['a', 'b'], 9)).toEqual({
      messages: [
        { appId: 'shop', messageId: 'm1', firstMs: START_MS + 1, lastMs: START_MS + 1, missing: ['b'] },
        { appId: 'shop', messageId: 'm3', firstMs: START_MS + 4, lastMs: START_MS + 4, missing: ['a'] },
      ],
    });
    const first = await model.incomplete('shop', ['a', 'b'], 1);
    expect(first).toMatchObject({ messages: [{ messageId: 'm1' }], next: { messageId: 'm1' } });
    const second = await model.incomplete('shop', ['a', 'b'], 1, first.next);
    expect(second.messages).toMatchObject([{ messageId: 'm3' }]);
    expect(second.next).toBeUndefined();
    expect((await model.seen('shop', 'm2', ['b', 'a', 'c'])).toSorted()).toEqual(['a', 'b']);
    await takeIn(model, 'EVENTS', [lifecycleEvent(6, ['shop', 'm1', 'b'])]);
    expect((await model.incomplete('shop', ['a', 'b'], 9)).messages).toMatchObject([{ messageId: 'm3' }]);
  });

  test('messages that lack nothing are gone through a stretch at a time', async () => {
    const sent = Array.from({ length: MESSAGES_WINDOW + 1 }, (_, i) => lifecycleEvent(i + 1, ['shop', `m${i}`, 'a']));
    await takeIn(model, 'EVENTS', [...sent, lifecycleEvent(MESSAGES_WINDOW + 2, ['shop', 'late', 'b'])]);
    const first = await model.incomplete('shop', ['a'], 9);
    expect(first).toMatchObject({ messages: [], next: { messageId: `m${MESSAGES_WINDOW - 1}` } });
    const second = await model.incomplete('shop', ['a'], 9, first.next);
    expect(second).toMatchObject({ messages: [{ messageId: 'late', missing: ['a'] }] });
    expect(second.next).toBeUndefined();
  });
}
