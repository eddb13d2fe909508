const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * How many times shorter every lifetime is than written here: 1, but for `TIME_SCALE` in `dev`, with which a bench sees a
 * week go by in minutes.
 *
 * @throws {Error} when `TIME_SCALE` is set outside `SLUICE_ENV=dev` or is no number from 1 on.
 */
export function timeScale(env: Readonly<Record<string, string | undefined>>): number {
  const text = env['TIME_SCALE'] ?? '';
  if (text === '') return 1;
  const scale = Number(text);
  if (env['SLUICE_ENV'] !== 'dev')
    throw new Error('TIME_SCALE shortens every lifetime: unset it, or set SLUICE_ENV=dev');
  if (!(scale >= 1)) throw new Error(`TIME_SCALE is ${text}: it must be a number from 1 on`);
  return scale;
}

const scale = timeScale(process.env);

/** A lifetime or the pause between two looks for what has ended, shortened by `TIME_SCALE`, but to no less than `leastMs`. */
export const scaledMs = (ms: number, leastMs = 0): number => Math.max(Math.min(ms, leastMs), Math.round(ms / scale));

const day = scaledMs(DAY_MS);
const job = 7 * day;
const mailRetry = 6 * day;
const attachmentNamed = 2 * day;

/**
 * How long the system keeps what it keeps, in milliseconds. What depends on another lifetime is written in terms of it;
 * `docs/retention.md` is generated from here, and a start of a gateway compares the streams with it.
 */
export const lifetimes = {
  day,
  /** An event of a job. An open job's last event is written again before it is over. */
  job,
  /** What happened to a message. */
  event: 7 * day,
  deadLetter: 30 * day,
  /** An ended job in lists and searches, unless `HISTORY_TTL_MS` says otherwise. */
  history: 30 * day,
  /** From the acceptance of the job of an `Idempotency-Key`; after that the key is as new. */
  idempotencyKey: day,
  /** The PDF of an ended job, unless `RESULT_TTL_MS` says otherwise. */
  result: day,
  /** An upload before its job is accepted, and any object that no job names. */
  upload: scaledMs(HOUR_MS, 30 * SECOND_MS),
  /** How long after its upload a file can be named by a mail: longer than a key lives, for the repeat of a request. */
  attachmentNamed,
  /** The longest that a mail may be tried (`RETRY_FOR_MS`): its job must outlive it. */
  mailRetry,
  /** A mail that names a file last is tried as long as any other. */
  attachment: attachmentNamed + mailRetry + day,
  /** Whether a mail was sent: longer than it is tried, and as long again for an operator's replay. */
  mailSent: 2 * job,
  mailQuota: scaledMs(25 * HOUR_MS),
  /** A mailbox may come back, so no address is kept out for ever. */
  suppression: 90 * day,
  /** A browser that is signed in. */
  session: scaledMs(12 * HOUR_MS),
  rate: scaledMs(2 * HOUR_MS),
  /** A charge before its job is looked for: longer than any request takes from its charge to its job. */
  unclaimedCharge: scaledMs(10 * MINUTE_MS, 15 * SECOND_MS),
  /** How long a repeated `Nats-Msg-Id` is recognised: longer than a publisher retries. */
  duplicates: scaledMs(2 * MINUTE_MS, 10 * SECOND_MS),
} as const;
