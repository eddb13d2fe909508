import { create, toBinary } from '@bufbuild/protobuf';
import {
  DeferralSchema,
  JobEventSchema,
  JobKind,
  JobRequestSchema,
  JobResultSchema,
  JobState,
  MailReportSchema,
  PlacementSchema,
  type Job,
} from '@sluice/contracts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  acceptEvent,
  cancel,
  defer,
  fail,
  IllegalMoveError,
  isTerminal,
  isWhole,
  legalMoves,
  mayMove,
  moveEvent,
  refresh,
  reopen,
  eraseEvent,
  report,
  requestCancel,
  requeue,
  succeed,
} from './state.ts';

const id = 'job_aaaaaaaaaaaaaaaaaaaaaaaaaa';
const result = create(JobResultSchema, { work: { case: 'email', value: { messageId: '<a@b>' } } });
const failure = { code: 'corrupt_image', detail: 'the picture ends early' };
const accepted = (): Job => acceptEvent({ id, kind: JobKind.EMAIL }, 1_000).job!;

describe('a job', () => {
  test('starts as accepted, with the clock of its acceptance and no runs', () => {
    const job = acceptEvent({ id, state: JobState.SUCCEEDED, attempt: 9 }, 1_000).job!;
    expect(job).toMatchObject({ state: JobState.ACCEPTED, attempt: 0, replays: 0 });
    expect(job.createdAt?.seconds).toBe(1n);
  });

  test('ends once: what arrives after the end moves nothing', () => {
    const done = moveEvent(accepted(), succeed(accepted(), { result, attempt: 1, replays: 0 })!, 2_000).job!;
    expect(done).toMatchObject({ state: JobState.SUCCEEDED, attempt: 1, result });
    expect(succeed(done, { result, attempt: 2, replays: 0 })).toBeUndefined();
    expect(fail(done, { failure: aFailure(), attempt: 2, replays: 0 })).toBeUndefined();
    expect(cancel(done, { attempt: 1, replays: 0 })).toBeUndefined();
    expect(requestCancel(done)).toBeUndefined();
    expect(reopen(done)).toBeUndefined();
  });

  test('whose mail came back notes it once for each kind of report, and stays as it ended', () => {
    const request = { work: { case: 'email', value: { to: 'ada@example.com' } } } as const;
    const asked = acceptEvent({ id, kind: JobKind.EMAIL, request }, 1_000).job!;
    const done = moveEvent(asked, succeed(asked, { result, attempt: 1, replays: 0 })!, 2_000).job!;
    const bounce = create(MailReportSchema, { kind: 'bounce', status: '5.1.1' });
    const bounced = moveEvent(done, report(done, bounce)!, 3_000).job!;
    expect(bounced).toMatchObject({ state: JobState.SUCCEEDED, updatedAt: done.updatedAt });
    expect(bounced.result?.work.value).toMatchObject({ messageId: '<a@b>', reports: [{ status: '5.1.1' }] });
    expect(report(bounced, bounce)).toBeUndefined();
    expect(report(bounced, create(MailReportSchema, { kind: 'complaint' }))).toBeDefined();
    expect(report(accepted(), bounce)).toBeUndefined();
    // An erased job stays as the erasure left it.
    expect(report(eraseEvent(done, () => true, 4_000).job!, bounce)).toBeUndefined();
  });

  test('whose mail is deferred is queued again and says so once a run, until it has ended', () => {
    const deferral = create(DeferralSchema, { detail: 'a: 451 later' });
    const asked = accepted();
    const deferred = moveEvent(asked, defer(asked, { deferral, attempt: 1, replays: 0 })!, 2_000).job!;
    expect(deferred).toMatchObject({ state: JobState.QUEUED, attempt: 1, deferral });
    expect(defer(deferred, { deferral, attempt: 2, replays: 0 })).toBeUndefined();
    expect(defer(asked, { deferral, attempt: 1, replays: 1 })).toBeUndefined();
    const failed = moveEvent(deferred, fail(deferred, { failure: aFailure(), attempt: 3, replays: 0 })!, 3_000).job!;
    expect(defer(failed, { deferral, attempt: 4, replays: 0 })).toBeUndefined();
    const again = moveEvent(failed, reopen(failed)!, 4_000).job!;
    expect(again.deferral).toBeUndefined();
    expect(defer(again, { deferral, attempt: 1, replays: 1 })).toMatchObject({ to: JobState.QUEUED });
    const ended = moveEvent(asked, succeed(asked, { result, attempt: 1, replays: 0 })!, 2_000).job!;
    expect(defer(ended, { deferral, attempt: 2, replays: 0 })).toBeUndefined();
    // The words of a server may name the reader.
    expect(eraseEvent(failed, () => false, 4_000).job!.deferral).toBeUndefined();
  });

  test('that a client asked to cancel is cancelled once its worker says that nothing was done, and ends as it ended else', () => {
    const asked = moveEvent(accepted(), requestCancel(accepted())!, 2_000).job!;
    expect(asked).toMatchObject({ state: JobState.ACCEPTED, cancelRequested: true });
    expect(requestCancel(asked)).toBeUndefined();
    expect(cancel(asked, { attempt: 1, replays: 1 })).toBeUndefined();
    expect(cancel(asked, { attempt: 1, replays: 0 })).toMatchObject({ to: JobState.CANCELLED });
    expect(succeed(asked, { result, attempt: 1, replays: 0 })).toMatchObject({ to: JobState.SUCCEEDED });
  });

  test('is sent on its way again by an operator only after it failed, as a run of its own', () => {
    expect(reopen(accepted())).toBeUndefined();
    const failed = moveEvent(
      accepted(),
      fail(accepted(), { failure: aFailure(), attempt: 3, replays: 0 })!,
      2_000,
    ).job!;
    const again = moveEvent(failed, reopen(failed)!, 3_000).job!;
    expect(again).toMatchObject({ state: JobState.QUEUED, replays: 1, error: undefined });
    // The result of the run before the replay, delivered late, says nothing about this one.
    expect(fail(again, { failure: aFailure(), attempt: 4, replays: 0 })).toBeUndefined();
    expect(succeed(again, { result, attempt: 1, replays: 1 })).toMatchObject({ to: JobState.SUCCEEDED });
  });

  test('whose work was lost is queued again, with where its work is now, until it has ended or is on a newer run', () => {
    const placement = create(PlacementSchema, { stream: 'EMAILS', sequence: 7n, losses: 1 });
    const request = create(JobRequestSchema, { work: { case: 'email', value: { to: 'a@b' } } });
    const run = { replays: 0, request, placement };
    const queued = moveEvent(accepted(), requeue(accepted(), run)!, 2_000).job!;
    expect(queued).toMatchObject({ state: JobState.QUEUED, placement, request, refreshedAt: { seconds: 2n } });
    expect(requeue(accepted(), { ...run, replays: 1 })).toBeUndefined();
    const failed = moveEvent(queued, fail(queued, { failure: aFailure(), attempt: 1, replays: 0 })!, 3_000).job!;
    expect(requeue(failed, run)).toBeUndefined();
    expect(refresh(failed, run)).toBeUndefined();
    expect(moveEvent(failed, reopen(failed)!, 4_000).job!.placement).toBeUndefined();
  });

  test('is written down again as it is, whole, while it is open', () => {
    const request = create(JobRequestSchema, {
      work: { case: 'image', value: { sources: [{ from: { case: 'content', value: new Uint8Array(9) } }] } },
    });
    const event = moveEvent(accepted(), refresh(accepted(), { request, placement: undefined })!, 5_000);
    expect(event).toMatchObject({ cause: 'refresh', job: { state: JobState.ACCEPTED, request } });
    expect(event.job).toMatchObject({ updatedAt: { seconds: 1n }, refreshedAt: { seconds: 5n } });
    expect(isWhole(event.job!.request)).toBe(true);
    const after = moveEvent(event.job!, requestCancel(event.job!)!, 6_000).job!;
    expect(isWhole(after.request)).toBe(false);
  });

  test('never goes back in time, whichever clock its next event is written by', () => {
    const done = moveEvent(accepted(), cancel(accepted(), { attempt: 1, replays: 0 })!, 400);
    expect(done.job?.updatedAt).toEqual(accepted().updatedAt);
    expect(done.at).toEqual(accepted().updatedAt);
  });

  test('refuses every move that the table does not name', () => {
    const states = Object.values(JobState);
    fc.assert(
      fc.property(fc.constantFrom(...states), fc.constantFrom(...states), (from, to) => {
        const job = { ...accepted(), state: from };
        const run = () => moveEvent(job, { to, cause: 'result' }, 2_000);
        if (mayMove(from, to)) expect(run().job?.state).toBe(to);
        else expect(run).toThrow(IllegalMoveError);
      }),
    );
  });

  test('has exactly one way out of an end: an operator, from failed', () => {
    const ways = Object.entries(legalMoves).filter(([from]) => isTerminal(Number(from) as JobState));
    // An event in the same state is a note.
    const leaving = ways.map(([from, to]) => [from, to.filter((state) => state !== Number(from))] as const);
    expect(leaving.flatMap(([from, to]) => to.map((state) => [Number(from), state]))).toEqual([
      [JobState.FAILED, JobState.QUEUED],
    ]);
  });

  test('carries uploaded bytes in its first event alone', () => {
    const content = new Uint8Array(200_000);
    const source = { from: { case: 'content' as const, value: content }, sizeBytes: 200_000n, mediaType: 'image/png' };
    const first = acceptEvent({ id, request: { work: { case: 'image', value: { sources: [source] } } } }, 1_000);
    const second = moveEvent(first.job!, cancel(first.job!, { attempt: 0, replays: 0 })!, 2_000);
    expect(toBinary(JobEventSchema, first).length).toBeGreaterThan(200_000);
    expect(toBinary(JobEventSchema, second).length).toBeLessThan(300);
    expect(second.job?.request?.work.value).toMatchObject({
      sources: [{ sizeBytes: 200_000n, mediaType: 'image/png' }],
    });
  });
});

function aFailure() {
  return { $typeName: 'sluice.v1.Failure' as const, ...failure };
}
