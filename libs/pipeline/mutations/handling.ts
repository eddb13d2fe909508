import type { Mutation } from './mutation.ts';

/** Rules of admission, handlers, retries and dead letters. */
export const handling: readonly Mutation[] = [
  // decision and retry
  {
    file: 'process/retry-decision',
    rule: 'a PermanentError is not retried',
    from: 'isInstance(error, PermanentError) || ',
    to: '',
  },
  { file: 'process/retry-decision', rule: '`retryable` is asked', from: '!mayRetry(policy, error)', to: 'false' },
  {
    file: 'process/retry-decision',
    rule: 'maxAttempts ends the retries',
    from: 'if (attempt >= policy.maxAttempts)',
    to: 'if (attempt > policy.maxAttempts)',
  },
  {
    file: 'process/retry-decision',
    rule: 'an asked-for delay is clamped',
    from: 'Math.min(policy.maxAfterMs, Math.max(1, Math.round(asked)))',
    to: 'Math.max(1, Math.round(asked))',
  },
  {
    file: 'process/retry-decision',
    rule: 'a RetryAfterError names its delay',
    from: 'isInstance(error, RetryAfterError) ? error.afterMs : undefined',
    to: 'undefined',
  },
  { file: 'process/backoff', rule: 'the delay grows', from: 'policy.factor ** Math.max(0, attempt - 1)', to: '1' },
  { file: 'process/backoff', rule: 'the delay is bounded', from: 'Math.min(policy.maxMs, ', to: 'Math.max(0, ' },
  {
    file: 'process/backoff',
    rule: 'the delay is never 0',
    from: 'Math.max(1, Math.round(full * part))',
    to: 'Math.round(full * random())',
  },
  // processor
  {
    file: 'attempts/attempts',
    rule: 'a crash loop ends',
    from: 'if (delivery.unknownDeliveries < retry.maxUnknownDeliveries) return undefined;',
    to: 'return undefined;',
  },
  {
    file: 'attempts/attempts',
    rule: 'deliveries that nothing is known of never count as the last attempt',
    from: 'Math.min(known.failed + missed, most)',
    to: 'known.failed + missed',
  },
  {
    file: 'process/admission',
    rule: 'bytes that do not decode are dead letters',
    from: "return this.#refuse.deadLetter(delivery, { kind: 'deadLetter', why: 'decode', reason, error });\n    }\n    if (delivery.fault",
    to: 'return this.#refuse.fail(delivery, error);\n    }\n    if (delivery.fault',
  },
  {
    file: 'process/publish-emits',
    rule: 'emits are stored before the ack',
    from: 'await Promise.all(\n      run.emits.map(',
    to: 'void Promise.all(\n      run.emits.map(',
  },
  {
    file: 'process/publish-emits',
    rule: 'emits of a failed handler are discarded',
    from: 'if (run.emits === undefined || !succeeded) return results;',
    to: 'if (run.emits === undefined) return results;',
  },
  {
    file: 'process/publish-emits',
    rule: 'an emit that fails fails the attempt',
    from: "return results.map((result) => (isSuccess(result) ? { kind: 'failed', error } : result));",
    to: 'return results;',
  },
  {
    file: 'process/processor',
    rule: 'a key is completed before the ack',
    from: 'if (await this.claims.complete(delivery)) await this.#ack(delivery, decision.kind);',
    to: 'await this.#ack(delivery, decision.kind); if (await this.claims.complete(delivery)) return;',
  },
  {
    file: 'process/processor',
    rule: 'a failed attempt gives its key back',
    from: 'await Promise.all([this.claims.release(delivery), this.attempts.ended(delivery, true)]);',
    to: 'await this.attempts.ended(delivery, true);',
  },
  {
    file: 'process/admission',
    rule: 'a duplicate is acknowledged without running',
    from: "if (claimed === 'done')",
    to: "if (claimed === ('never' as string))",
  },
  {
    file: 'dead-letter/dead-letters',
    rule: 'a dead letter is stored before its message is let go',
    from: 'const { duplicate } = await this.#publish(',
    to: 'const { duplicate } = { duplicate: false }; void this.#publish(',
  },
  {
    file: 'process/processor',
    rule: 'a failed dead letter keeps its reason',
    from: 'this.#deadLetters.remember(delivery, decision);\n',
    to: '',
  },
  {
    file: 'process/processor',
    rule: 'a late return after the abort is no success',
    from: 'run.abortReason === undefined ? returned :',
    to: 'true ? returned :',
  },
  {
    file: 'process/processor',
    rule: 'a lost lease is not acknowledged',
    from: "abortReason?.code === 'CLAIM_LOST' || ",
    to: '',
  },
  {
    file: 'idempotency/claims',
    rule: 'a claim lost is noticed',
    from: 'if (kept || delivery.claim',
    to: 'if (true || delivery.claim',
  },
  {
    file: 'process/handler-result',
    rule: 'a wrong number of outcomes fails the batch',
    from: 'if (list.length !== count) {',
    to: 'if (false) {',
  },
  {
    file: 'process/processor',
    rule: 'the breaker hears of failures',
    from: 'this.#host.sample(true, error, startedAt)',
    to: 'this.#host.sample(false, error, startedAt)',
  },
  {
    file: 'process/retry-decision',
    rule: 'a cancelled message is given up, not retried',
    from: "error.code === 'CANCELLED'",
    to: 'false',
  },
  {
    file: 'process/processor',
    rule: 'a snoozed message uses up no attempt',
    from: "this.#settled(delivery, 'snooze', () => this.#host.retry(delivery, delayMs, false));",
    to: "this.#settled(delivery, 'snooze', () => this.#host.retry(delivery, delayMs, true));",
  },
  {
    file: 'process/processor',
    rule: 'onDeadLetter is awaited before the ack',
    from: 'await this.#tellDeadLetter(',
    to: 'void this.#tellDeadLetter(',
  },
  {
    file: 'process/processor',
    rule: 'onDeadLetter can read the data of a message given up at an earlier delivery',
    from: 'delivery.decode(decode);\n    } catch',
    to: '} catch',
  },
];
