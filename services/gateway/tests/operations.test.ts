import { newJobId } from '@sluice/jobs';
import { DEAD_LETTER, PermanentError } from '@sluice/pipeline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeadLetterView } from '../src/dead-letters/record.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
let broken = true;
beforeAll(async () => {
  rig = await startRig();
  await rig.workers({
    send: async ({ email }) => {
      if (broken) throw new PermanentError(`the mailbox of ${email?.to} is on fire`);
      return undefined;
    },
    convert: async () => {
      if (broken) throw new Error('the store is away');
      return undefined;
    },
  });
});
afterAll(() => rig?.stop());

const job = async (id: string): Promise<JobView> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body;
const inState = (id: string, state: string) =>
  eventually(
    () => job(id),
    (seen) => seen.state === state,
  );
const letters = async (query = '') =>
  (await rig.call<{ deadLetters: DeadLetterView[]; next?: number }>(`/v1/dead-letters?${query}`)).body;
const letterOf = async (id: string) =>
  (await eventually(letters, (page) => page.deadLetters.some(({ jobId }) => jobId === id))).deadLetters.find(
    ({ jobId }) => jobId === id,
  )!;
const audits = async (): Promise<{ action: string; target: string; by: string }[]> => {
  const found = [];
  const { state } = await rig.bus.jsm.streams.info('AUDIT');
  for (let seq = 1; seq <= state.last_seq; seq += 1) {
    found.push(
      (await rig.bus.jsm.streams.getMessage('AUDIT', { seq }))!.json<{ action: string; target: string; by: string }>(),
    );
  }
  return found;
};
const mail = async () =>
  (
    await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'notification', variables: { message: 'x' } },
    })
  ).body.id;

/** A dead letter as the engine writes it, of a message that a pipeline gave up. */
const deadLetter = (stream: string, subject: string, messageId: string, reason = 'exhausted') =>
  rig.bus.port.publish(`dlq.${stream}.orchestrator`, new Uint8Array([1]), {
    id: `dead.${messageId}`,
    headers: {
      [DEAD_LETTER.stream]: stream,
      [DEAD_LETTER.consumer]: 'orchestrator',
      [DEAD_LETTER.subject]: subject,
      [DEAD_LETTER.messageId]: messageId,
      [DEAD_LETTER.reason]: reason,
      [DEAD_LETTER.deliveries]: '5',
    },
  });
interface Bulk {
  readonly matched: number;
  readonly replayed?: number;
  readonly purged?: number;
  readonly skipped?: readonly { readonly code: string; readonly detail: string }[];
  readonly groups?: Readonly<Record<string, number>>;
  readonly next?: number;
}
const bulk = async (what: 'replay' | 'purge', json: Record<string, unknown>) =>
  rig.call<Bulk>(`/v1/dead-letters:${what}`, { json });

describe('many dead letters', () => {
  test('are replayed past those that cannot be, which are told of with their reason', async () => {
    for (let i = 0; i < 10; i += 1) await deadLetter('CLIENTS', 'client.email.sent', `replayable-${i}`, 'bulk');
    // Newer, and of jobs that are gone: more of them than one call replays.
    await Promise.all(
      Array.from({ length: 600 }, async () => {
        const id = newJobId();
        await deadLetter('JOBS', `jobs.${id}`, `${id}.work`, 'bulk');
      }),
    );
    const before = (await audits()).length;
    const { body } = await bulk('replay', { reason: 'bulk', limit: 500 });
    expect(body).toMatchObject({ matched: 610, replayed: 10 });
    expect(body.skipped).toHaveLength(600);
    expect(body.skipped![0]).toMatchObject({ code: 'not_replayable', detail: 'The job is no longer known.' });
    // What was not done is not written down.
    expect((await audits()).length).toBe(before + 10);
  });

  test('are purged by filter, after a look, and one entry says which', async () => {
    expect((await bulk('purge', {})).status).toBe(400);
    const look = await bulk('purge', { reason: 'bulk', limit: 500, dryRun: true });
    expect(look.body).toMatchObject({ matched: 500, purged: 0, groups: { 'JOBS/orchestrator bulk': 500 } });
    const none = await bulk('purge', { reason: 'bulk', before: '2020-01-01T00:00:00Z' });
    expect(none.body).toMatchObject({ matched: 0, purged: 0 });
    expect((await bulk('purge', { reason: 'bulk', limit: 500 })).body).toMatchObject({ matched: 500, purged: 500 });
    expect((await bulk('purge', { reason: 'bulk', limit: 500 })).body).toMatchObject({ matched: 100, purged: 100 });
    expect((await letters('reason=bulk')).deadLetters).toEqual([]);
    const written = (await audits()).filter(({ action }) => action === 'dead-letter.purge-many');
    expect(written.map(({ target }) => target)).toEqual(['500 dead letters', '100 dead letters']);
  });
});

describe('a dead letter', () => {
  test('settles its job as failed, and tells its owner the last error without whose mailbox it was', async () => {
    const id = await mail();
    const failed = await inState(id, 'failed');
    expect(failed.error).toEqual({
      code: 'permanent_failure',
      detail: expect.stringMatching(
        /^The work failed in a way that no repeat can fix\. The last error: PermanentError: the mailbox of \[\w+\]@/,
      ) as string,
    });
  });

  test('shows an operator why, where and what, with addresses masked', async () => {
    const id = await mail();
    const letter = await letterOf(id);
    expect(letter).toMatchObject({
      stream: 'EMAILS',
      consumer: 'notification_mailer',
      reason: 'permanent',
      attempts: 1,
      subject: 'email.send.notification',
      messageId: `${id}.work`,
      detail: 'the mailbox of ***@example.com is on fire',
      payload: { jobId: id, email: { to: '***@example.com', template: 'notification' } },
    });
    expect((await rig.call(`/v1/dead-letters/${letter.id}`)).body).toEqual(letter);
    expect((await rig.call('/v1/dead-letters/999999')).status).toBe(404);
    expect((await letters('reason=decode')).deadLetters).toEqual([]);
    expect((await letters('consumer=notification_mailer&limit=1')).deadLetters).toHaveLength(1);
    for (const error of ['PermanentError', 'PERMANENT']) {
      expect((await letters(`error=${error}`)).deadLetters).toContainEqual(letter);
    }
    expect((await letters('error=OtherError')).deadLetters).toEqual([]);
  });

  test('is replayed through its job, once, and then it is gone', async () => {
    const id = await mail();
    const letter = await letterOf(id);
    await inState(id, 'failed');
    broken = false;
    expect(await rig.call(`/v1/dead-letters/${letter.id}:replay`, { method: 'POST' })).toMatchObject({ status: 202 });
    await inState(id, 'succeeded');
    expect((await rig.call(`/v1/dead-letters/${letter.id}:replay`, { method: 'POST' })).status).toBe(404);
    expect(await audits()).toContainEqual(
      expect.objectContaining({ action: 'dead-letter.replay', target: letter.id, by: 'local' }),
    );
    broken = true;
  });

  test('of an image brings its pictures back, those that travelled inside and those in the store', async () => {
    const ids = [];
    for (const picture of [png(), png(8, 6, 400_000)]) {
      const { body } = await rig.call<JobView>('/v1/images', { body: picture });
      await inState(body.id, 'failed');
      ids.push(body.id);
    }
    broken = false;
    for (const id of ids) await letterOf(id);
    const { body } = await rig.call('/v1/dead-letters:replay', { json: { stream: 'IMAGES' } });
    expect(body).toEqual({ matched: 2, replayed: 2, skipped: [] });
    for (const id of ids) await inState(id, 'succeeded');
    broken = true;
  });

  test('is purged, and the purge is written down first where no user can delete it', async () => {
    const letter = await letterOf(await mail());
    expect((await rig.call(`/v1/dead-letters/${letter.id}`, { method: 'DELETE' })).status).toBe(202);
    expect((await rig.call(`/v1/dead-letters/${letter.id}`)).status).toBe(404);
    expect(await audits()).toContainEqual(expect.objectContaining({ action: 'dead-letter.purge', target: letter.id }));
    await expect(rig.bus.jsm.streams.purge('AUDIT')).rejects.toThrow(/purge/);
    await expect(rig.bus.jsm.streams.deleteMessage('AUDIT', 1)).rejects.toThrow(/delete/);
  });
});

describe('two operators at one dead letter', () => {
  const letterOfFailed = async (): Promise<DeadLetterView> => {
    const id = await mail();
    await inState(id, 'failed');
    return letterOf(id);
  };
  const statuses = async ({ id }: DeadLetterView, path: string, method: string): Promise<number[]> => {
    const once = () => rig.call(`/v1/dead-letters/${id}${path}`, { method });
    const answers = await Promise.all(Array.from({ length: 6 }, once));
    expect((await rig.call(`/v1/dead-letters/${id}`)).status).toBe(404);
    return answers.map(({ status }) => status);
  };

  test('purge it once', async () => {
    for (const status of await statuses(await letterOfFailed(), '', 'DELETE')) expect([202, 404]).toContain(status);
  });

  test('replay it once', async () => {
    const letter = await letterOfFailed();
    broken = false;
    // Who comes second finds the job running again, or the dead letter gone.
    for (const status of await statuses(letter, ':replay', 'POST')) expect([202, 404, 409]).toContain(status);
    expect((await inState(letter.jobId!, 'succeeded')).state).toBe('succeeded');
    broken = true;
  });
});

describe('a paused pipeline', () => {
  test('stands still on every replica until it is resumed', async () => {
    const other = await rig.replica();
    broken = false;
    expect((await rig.call('/v1/pipelines/email_sent:pause', { method: 'POST' })).body).toEqual({
      name: 'email_sent',
      paused: true,
    });
    const states = async () =>
      [rig.gateway, other].map(({ pipelines }) => pipelines().find(({ name }) => name === 'email_sent')?.state);
    await eventually(states, (seen) => seen.every((state) => state === 'paused'));
    const id = await mail();
    const late = await rig.replica();
    await eventually(
      async () => late.pipelines().find(({ name }) => name === 'email_sent')?.state,
      (state) => state === 'paused',
    );
    // The mail is sent and says so; no consumer takes that up.
    await eventually(
      async () => (await rig.bus.jsm.streams.info('RESULTS')).state.messages,
      (waiting) => waiting === 1,
    );
    expect((await job(id)).state).not.toBe('succeeded');
    await rig.call('/v1/pipelines/email_sent:resume', { method: 'POST' });
    await inState(id, 'succeeded');
    expect((await rig.call('/v1/pipelines/nonsense:pause', { method: 'POST' })).status).toBe(404);
  });
});
