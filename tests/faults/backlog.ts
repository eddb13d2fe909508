import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { channels, JobState } from '@sluice/contracts';
import type { Stack } from '@sluice/dev';
import { stateName } from '@sluice/jobs';
import { connectNats, createBus, type Bus } from '@sluice/messaging';
import { until } from '../e2e/gateway-client.ts';
import { drained } from './invariants.ts';
import { lastStates } from './ledger.ts';
import { post, type Answer } from './load.ts';
import { emailRequest } from './requests.ts';

/** How a lane is filled, and how the other one is asked meanwhile. */
export interface BacklogPlan {
  /** Normal mails to queue: the gateway's `MAX_BACKLOG`. */
  readonly jobs: number;
  /** Express mails before the backlog. */
  readonly idleJobs: number;
  readonly expressPerSecond: number;
  /**
   * Express mails that may be on their way at once; more wait to be sent. A machine too slow for the pace would turn them
   * away. Without it they are sent when they are due, which is how to measure what they take.
   */
  readonly expressAtOnce?: number;
}

/** What was seen. Times are those of a client: from when a request was due until the callback of its job. */
export interface BacklogRun {
  readonly idleMs: readonly number[];
  readonly backlogMs: readonly number[];
  readonly accepted: number;
  /** Answers 503 to normal mails. */
  readonly refused: number;
  /** The most messages that the lane ever held. */
  readonly deepest: number;
  /** How long the backlog took to drain. */
  readonly drainMs: number;
  /** What must not be, a line each: an unexpected answer, an accepted job that did not succeed. */
  readonly wrong: readonly string[];
}

const PIPELINE = 'notification_mailer';
const LANE = 'EMAILS';
const CLIENTS = 16;
/** Asked for beyond the limit, while nothing drains. */
const BEYOND = 50;
/** Express mails are measured while at least this share of the backlog is there. */
const STILL_FULL = 0.1;
const FILL_TIMEOUT_MS = 180_000;

/**
 * Queues as many normal mails as the gateway takes, with the mailer paused, asks for more, lets the mailer go on and
 * sends express mails while it works the backlog off. The stack's gateway has a `MAX_BACKLOG` of `plan.jobs`.
 */
export async function runBacklog(stack: Stack, plan: BacklogPlan): Promise<BacklogRun> {
  const bus = await createBus(await connectNats({ url: stack.nats.url, name: 'backlog' }));
  const ends = watchEnds(bus);
  const depth = watchDepth(bus);
  const wrong: string[] = [];
  const accepted: string[] = [];
  try {
    const pace = { perSecond: plan.expressPerSecond, atOnce: plan.expressAtOnce ?? Infinity };
    await expressJobs(stack, ends, { ...pace, count: 10 });
    const idle = await expressJobs(stack, ends, { ...pace, count: plan.idleJobs });

    await turn(stack, 'pause');
    const { refused, ids } = await fill(stack, plan.jobs, wrong);
    accepted.push(...ids);
    // The other lane is open all the while.
    const express = await post(stack.urls.gateway, emailRequest({ priority: 'express' }));
    if (express?.status === 202) accepted.push(express.id);
    else wrong.push(`express was answered ${express?.status} while normal was full`);

    // Not before it has been seen how many there are: a quick mailer would have begun to drain them.
    await until('the lane is as full as it may be', () => depth.now() >= plan.jobs);
    await turn(stack, 'resume');
    const resumedMs = performance.now();
    await until('the backlog drains', () => depth.now() < plan.jobs, 240_000);
    const full = (): boolean => depth.now() > plan.jobs * STILL_FULL;
    const loaded = await expressJobs(stack, ends, { ...pace, while: full });
    await until('the lane is empty', () => depth.now() === 0, 600_000);
    const drainMs = performance.now() - resumedMs;
    await drained(stack);

    accepted.push(...idle.ids, ...loaded.ids);
    wrong.push(...idle.wrong, ...loaded.wrong);
    const jobs = await lastStates(bus);
    for (const id of accepted) {
      const state = jobs.get(id)?.state;
      if (state !== JobState.SUCCEEDED) wrong.push(`${id} is ${state === undefined ? 'nowhere' : stateName(state)}`);
    }
    return {
      idleMs: idle.tookMs,
      backlogMs: loaded.tookMs,
      accepted: accepted.length,
      refused,
      deepest: depth.deepest(),
      drainMs,
      wrong,
    };
  } finally {
    depth.stop();
    await bus.close();
  }
}

/** Posts normal mails until as many as asked for are accepted, and some more that must be refused. */
async function fill(stack: Stack, jobs: number, wrong: string[]): Promise<{ refused: number; ids: readonly string[] }> {
  const ids: string[] = [];
  let refused = 0;
  const take = (answer: Answer | undefined): void => {
    if (answer?.status === 202) ids.push(answer.id);
    else if (answer?.status === 503 && answer.retryAfterSeconds > 0) refused += 1;
    else wrong.push(`a mail was answered ${answer?.status ?? 'not at all'}`);
  };
  const deadline = performance.now() + FILL_TIMEOUT_MS;
  const client = async (): Promise<void> => {
    while (ids.length < jobs && performance.now() < deadline) {
      const before = refused;
      take(await post(stack.urls.gateway, emailRequest()));
      if (refused > before) await sleep(50);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  const full = ids.length;
  for (let n = 0; n < BEYOND; n += 1) take(await post(stack.urls.gateway, emailRequest()));
  if (full < jobs) wrong.push(`only ${full} of ${jobs} were accepted`);
  if (ids.length > jobs) wrong.push(`${ids.length} were accepted, and the limit is ${jobs}`);
  return { refused, ids };
}

/** Express mails at an even pace, however they end; resolves when all have ended. */
async function expressJobs(
  stack: Stack,
  ends: ReadonlyMap<string, number>,
  plan: { readonly perSecond: number; readonly atOnce: number } & (
    | { readonly count: number }
    | { readonly while: () => boolean }
  ),
): Promise<{ tookMs: readonly number[]; ids: readonly string[]; wrong: readonly string[] }> {
  const sent: Promise<{ dueMs: number; answer: Answer | undefined }>[] = [];
  const open = new Set<string | Promise<unknown>>();
  const more = 'count' in plan ? (): boolean => sent.length < plan.count : plan.while;
  for (let dueMs = performance.now(); more(); dueMs += 1_000 / plan.perSecond) {
    await sleep(Math.max(0, dueMs - performance.now()));
    while (open.size >= plan.atOnce) {
      await sleep(10);
      for (const id of open) if (typeof id === 'string' && ends.has(id)) open.delete(id);
    }
    const answered = post(stack.urls.gateway, emailRequest({ priority: 'express' }));
    open.add(answered);
    sent.push(
      answered.then((answer) => {
        open.delete(answered);
        if (answer?.status === 202) open.add(answer.id);
        return { dueMs, answer };
      }),
    );
  }
  const all = await Promise.all(sent);
  const ids = all.flatMap(({ answer }) => (answer?.status === 202 ? [answer.id] : []));
  await until('the express mails have ended', () => ids.every((id) => ends.has(id)), 240_000);
  return {
    ids,
    tookMs: all.flatMap(({ dueMs, answer }) => (answer?.status === 202 ? [(ends.get(answer.id) ?? NaN) - dueMs] : [])),
    wrong: all.flatMap(({ answer }) =>
      answer?.status === 202 ? [] : [`an express mail was answered ${answer?.status ?? 'not at all'}`],
    ),
  };
}

/** When the callback of each job was published. */
function watchEnds(bus: Bus): ReadonlyMap<string, number> {
  const ends = new Map<string, number>();
  const { template, schema } = channels.clientEmailSent;
  bus.nc.subscribe(template, {
    callback: (_, { data }) => {
      const id = fromBinary(schema, data).job?.id;
      if (id !== undefined && !ends.has(id)) ends.set(id, performance.now());
    },
  });
  return ends;
}

/** How many messages the lane holds, looked at again and again. */
function watchDepth(bus: Bus): { now: () => number; deepest: () => number; stop: () => void } {
  let now = 0;
  let deepest = 0;
  const stopping = new AbortController();
  const look = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      now = (await bus.jsm.streams.info(LANE)).state.messages;
      deepest = Math.max(deepest, now);
      await sleep(50);
    }
  };
  // The connection's end is this one's too.
  look().catch(() => undefined);
  return { now: () => now, deepest: () => deepest, stop: () => stopping.abort() };
}

/** What an operator does to the mailer. */
async function turn(stack: Stack, verb: 'pause' | 'resume'): Promise<void> {
  const answer = await fetch(`${stack.urls.gateway}/v1/pipelines/${PIPELINE}:${verb}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  await answer.body?.cancel();
  if (answer.status !== 202) throw new Error(`${verb} was answered ${answer.status}`);
}
