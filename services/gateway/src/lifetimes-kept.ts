import { apiErrorCode, bucketStream, buckets, JS_ERROR, lifetimes } from '@sluice/messaging';
import type { Bus } from '@sluice/messaging';

/** Something that a stream must keep for so long, at any setting of an operator. */
export interface KeptRule {
  readonly stream: string;
  /** `Infinity`: the stream must have no max_age. */
  readonly leastMs: number;
  readonly why: string;
  /** What may be changed instead of the stream. */
  readonly or?: string;
}

const forEver = (name: Parameters<typeof bucketStream>[0], why: string): KeptRule => ({
  stream: bucketStream(name),
  leastMs: Infinity,
  why,
});

/** How long a stream keeps a message, in milliseconds; `Infinity` for no end. */
export async function keptMsOf(jsm: Bus['jsm'], stream: string): Promise<number> {
  const { max_age: nanos } = (await jsm.streams.info(stream)).config;
  return nanos === 0 ? Infinity : nanos / 1e6;
}

/** How long every stream of jobs keeps an event. An operator may have changed it on the server. */
export const jobsKeptMsOf = async (jsm: Bus['jsm'], jobStreams: readonly string[]): Promise<number> =>
  Math.min(...(await Promise.all(jobStreams.map((stream) => keptMsOf(jsm, stream)))));

/** What the lifetimes of streams have to be at least. `docs/retention.md` lists them. */
export const keptRules = (resultTtlMs: number, jobStreams: readonly string[] = ['JOBS']): readonly KeptRule[] => [
  ...jobStreams.flatMap((stream): KeptRule[] => [
    {
      stream,
      leastMs: lifetimes.idempotencyKey,
      why: 'an Idempotency-Key is honoured for so long: the repeat of a request would make a second job',
    },
    {
      stream,
      leastMs: 2 * lifetimes.unclaimedCharge,
      why: 'a charge is compared with its job up to half of it',
    },
    { stream, leastMs: resultTtlMs, why: 'a PDF is found through its job', or: 'lower RESULT_TTL_MS' },
  ]),
  {
    stream: 'EVENTS',
    leastMs: lifetimes.idempotencyKey,
    why: 'the repeat of a request would store its events twice',
  },
  {
    stream: bucketStream(buckets.emailInbox),
    leastMs: lifetimes.mailRetry,
    why: 'a mail is tried for so long (RETRY_FOR_MS) and could be sent twice',
  },
  { stream: 'CREDITS', leastMs: Infinity, why: 'the last entry of an account is its balance' },
  forEver(buckets.apiKeys, 'keys would end without anyone revoking them'),
  forEver(buckets.webhookSecrets, 'webhooks would lose their signature'),
  forEver(buckets.emailUnsubscribes, 'a reader who wants no mail would get some again'),
];

/** A stream keeps what it holds for less long than something that depends on it. */
export class LifetimeError extends Error {
  override readonly name = 'LifetimeError';
  readonly code = 'lifetime_too_short';
}

/**
 * Compares how long the streams keep what they hold with what depends on it. Their max_age is the operator's to set, so it is
 * read from the server.
 *
 * @returns how long the streams of jobs keep an event, `Infinity` for no end.
 * @throws {LifetimeError} which names every stream that keeps too little, and what to change.
 */
export async function checkLifetimes(
  jsm: Bus['jsm'],
  resultTtlMs: number,
  jobStreams: readonly string[],
): Promise<{ readonly jobsKeptMs: number }> {
  const kept = new Map<string, number>();
  const keptMs = async (stream: string): Promise<number> => {
    const known = kept.get(stream);
    if (known !== undefined) return known;
    const found = await keptMsOf(jsm, stream).catch((error: unknown) => {
      // What is missing is what readiness says; nothing in it is kept too short.
      if (apiErrorCode(error) === JS_ERROR.streamNotFound) return Infinity;
      throw error;
    });
    kept.set(stream, found);
    return found;
  };
  const broken: string[] = [];
  for (const { stream, leastMs, why, or } of keptRules(resultTtlMs, jobStreams)) {
    const has = await keptMs(stream);
    if (has >= leastMs) continue;
    const wanted = leastMs === Infinity ? '0' : `${Math.ceil(leastMs / 1000)}s`;
    broken.push(
      `${stream} keeps what it holds for ${has} ms, and needs ${leastMs === Infinity ? 'no max_age' : `${leastMs} ms`}: ${why}. ` +
        `Run \`nats stream edit ${stream} --max-age ${wanted}\`${or === undefined ? '' : ` or ${or}`}`,
    );
  }
  if (broken.length > 0) throw new LifetimeError(broken.join('\n'));
  return { jobsKeptMs: Math.min(...(await Promise.all(jobStreams.map(keptMs)))) };
}
