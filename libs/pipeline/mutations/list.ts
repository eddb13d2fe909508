// What is broken on purpose: a piece of text in a file of `src`, and what to put in its place.

/** One broken rule. */
export interface Mutation {
  readonly file: string;
  readonly rule: string;
  readonly from: string;
  readonly to: string;
  /** Why no quick test can see it. */
  readonly survives?: string;
}

export const mutations: readonly Mutation[] = [
  // settlement
  {
    file: 'settle/settlements',
    rule: 'an ack made while disconnected is held',
    from: 'this.#held.push(delivery.reply);\n      this.#remember(delivery);',
    to: '',
  },
  {
    file: 'settle/settlements',
    rule: 'a nak made while disconnected is held',
    from: 'this.#heldNaks.push({ reply: delivery.reply, dueAt, heldAt: this.#clock.now() });',
    to: '',
  },
  {
    file: 'settle/settlements',
    rule: 'acks are kept until confirmed',
    from: "if (this.#confirm === 'none') return;",
    to: 'return;',
  },
  {
    file: 'settle/settlements',
    rule: 'unconfirmed acks go out again after a reconnect',
    from: 'for (const reply of acks) this.#port.send(reply, ACK);',
    to: '',
  },
  {
    file: 'settle/settlements',
    rule: 'held naks go out after a reconnect',
    from: 'for (const { reply, dueAt } of naks) {',
    to: 'for (const { reply, dueAt } of [] as HeldNak[]) {',
  },
  {
    file: 'settle/settlements',
    rule: 'a round trip empties the ring',
    from: 'if (this.#confirming === ring) this.#confirming = undefined;',
    to: '',
  },
  {
    file: 'settle/settlements',
    rule: 'a failed round trip keeps the ring',
    from: '} catch {\n      this.#mergeBack();\n      return false;',
    to: '} catch {\n      this.#confirming = undefined;\n      return false;',
  },
  {
    file: 'settle/settlements',
    rule: 'a delayed nak carries its delay',
    from: 'delayMs === undefined ? NAK : delayed(delayMs)',
    to: 'NAK',
  },
  {
    file: 'settle/settlements',
    rule: 'working() is sent',
    from: 'if (this.#port.connected) this.#port.send(delivery.reply, WORKING);',
    to: '',
  },
  {
    file: 'settle/settlements',
    rule: '`each` waits for the answer',
    from: "if (this.#confirm === 'each') return this.#ackEach(delivery);",
    to: '',
    survives:
      'sent as an ordinary ack it reaches a healthy server just as well; the difference is seen only when a leader dies between',
  },
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
    from: 'Math.min(policy.maxAfterMs, asked)',
    to: 'asked',
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
    file: 'process/processor',
    rule: 'bytes that do not decode are dead letters',
    from: "return this.#deadLetter(delivery, { kind: 'deadLetter', why: 'decode'",
    to: "return this.#fail(delivery, error) ?? this.#deadLetter(delivery, { kind: 'deadLetter', why: 'decode'",
  },
  {
    file: 'process/processor',
    rule: 'emits are stored before the ack',
    from: 'await Promise.all(\n          run.emits.map(',
    to: 'void Promise.all(\n          run.emits.map(',
  },
  {
    file: 'process/processor',
    rule: 'emits of a failed handler are discarded',
    from: 'if (run.emits !== undefined && succeeded) {',
    to: 'if (run.emits !== undefined) {',
  },
  {
    file: 'process/processor',
    rule: 'an emit that fails fails the attempt',
    from: 'final = results.map((result) => (result.ok ? { ok: false, error } : result));',
    to: '',
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
    file: 'process/processor',
    rule: 'a duplicate is acknowledged without running',
    from: "if (claimed === 'done') {",
    to: "if (claimed === ('never' as string)) {",
  },
  {
    file: 'process/processor',
    rule: 'a dead letter is stored before its message is let go',
    from: 'const { duplicate } = await this.#host.publishDeadLetter(',
    to: 'const { duplicate } = { duplicate: false }; void this.#host.publishDeadLetter(',
  },
  {
    file: 'process/processor',
    rule: 'a failed dead letter keeps its reason',
    from: 'this.#rememberFailure(delivery, decision);\n',
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
    from: "abortReason !== undefined && abortReason.code !== 'HANDLER_TIMEOUT'",
    to: "abortReason !== undefined && abortReason.code === 'DRAIN_FORCED'",
  },
  {
    file: 'idempotency/claims',
    rule: 'a claim lost is noticed',
    from: 'if (kept || delivery.claim',
    to: 'if (true || delivery.claim',
  },
  {
    file: 'process/processor',
    rule: 'a wrong number of outcomes fails the batch',
    from: 'if (list.length !== run.deliveries.length) {',
    to: 'if (false) {',
  },
  {
    file: 'process/processor',
    rule: 'the breaker hears of failures',
    from: 'this.#host.sample(true, result.error, startedAt)',
    to: 'this.#host.sample(false, result.error)',
  },
  // flow control
  {
    file: 'pull/demand',
    rule: 'what is held is not asked for again',
    from: 'load.capacity - load.held - counted',
    to: 'load.capacity - counted',
  },
  {
    file: 'pull/demand',
    rule: 'what is requested is not asked for again',
    from: 'load.capacity - load.held - counted',
    to: 'load.capacity - load.held',
  },
  {
    file: 'pull/demand',
    rule: 'an idle source does not block the others',
    from: 'single || puller.lag > 0 ? puller.requested : 0',
    to: 'puller.requested',
  },
  { file: 'pull/demand', rule: 'the rate limits what is asked for', from: 'free = Math.min(free, tokens);', to: '' },
  {
    file: 'pull/demand',
    rule: 'the rate limits what is started',
    from: 'if (this.#bucket === undefined || this.#bucket.take(this.#clock.now())) return true;',
    to: 'if (this.#bucket !== undefined) this.#bucket.take(this.#clock.now()); return true;',
    survives: 'with the demand already limited to the tokens, a start without one needs messages that arrive unasked',
  },
  {
    file: 'pull/demand',
    rule: 'a wake-up follows the next token',
    from: 'this.#timer = undefined;\n      this.#wake();',
    to: 'this.#timer = undefined;',
  },
  {
    file: 'schedule/token-bucket',
    rule: 'tokens are bounded by the burst',
    from: 'Math.min(this.#size, ',
    to: 'Math.max(0, ',
  },
  {
    file: 'schedule/weighted-turn',
    rule: 'weights count',
    from: '(this.#credit[index] ?? 0) + weight',
    to: '(this.#credit[index] ?? 0) + 1',
  },
  { file: 'schedule/scheduler', rule: 'no more handlers than slots', from: 'inFlight.slots < this.#slots', to: 'true' },
  { file: 'schedule/scheduler', rule: 'a reserve is used', from: 'inFlight.slotsOf(source) <', to: '0 *' },
  {
    file: 'schedule/scheduler',
    rule: 'a delivery joins the one that is running',
    from: 'if (running !== undefined) {',
    to: 'if (running !== undefined && false) {',
  },
  {
    file: 'schedule/scheduler',
    rule: 'acked here and redelivered is acked again',
    from: 'meta.deliveries > 1 && settlements.ackedHere(source, meta.sequence, storedAtMs(reply))',
    to: 'false',
    survives: 'the replay of the ring usually reaches the server before it redelivers',
  },
  {
    file: 'schedule/scheduler',
    rule: 'a probe is one message',
    from: "return breaker.phase === 'probing' ? 1 : 0;",
    to: 'return spec.flow.concurrency;',
    survives: 'the demand asks for one message while probing, so a second slot has nothing to start',
  },
  {
    file: 'schedule/scheduler',
    rule: 'batches that fill the buffer are closed',
    from: "inFlight.batcher.closeOldest('demand');",
    to: '',
  },
  {
    file: 'schedule/key-order',
    rule: 'a lane is taken by one',
    from: 'lane.add(item);\n    this.#waiting++;\n    return false;',
    to: 'return true;',
  },
  {
    file: 'engine',
    rule: 'a retry holds its lane',
    from: 'if (delivery.key !== undefined && this.#final',
    to: 'if (false && this.#final',
  },
  {
    file: 'schedule/batcher',
    rule: 'a redelivered message travels alone',
    from: 'if (item.attempt > 1) {',
    to: 'if (false) {',
  },
  {
    file: 'schedule/batcher',
    rule: 'batches close by bytes',
    from: 'batch.bytes + item.bytes > maxBytes',
    to: 'false',
  },
  { file: 'schedule/batcher', rule: 'keys are not mixed', from: "by?.(item) ?? ''", to: "''" },
  { file: 'pull/prefetch', rule: 'slow handlers get none', from: 'averageMs < SLOW_MS && ', to: '' },
  {
    file: 'pull/prefetch',
    rule: 'bounded by the lease',
    from: 'withinLease, this.#most',
    to: 'this.#most',
    survives: 'with these constants two milliseconds of work per slot never reach a third of the shortest ack_wait',
  },
  {
    file: 'schedule/breaker',
    rule: 'a failed probe opens it',
    from: "if (failed) {\n        this.phase = 'open';\n        return 'trip';\n      }",
    to: '',
  },
  // time
  { file: 'settle/heartbeat', rule: 'what is held gets heartbeats', from: 'settlements.working(delivery);', to: '' },
  {
    file: 'settle/heartbeat',
    rule: 'a handler out of time is aborted',
    from: 'if (ageMs >= spec.timeout.handlerMs) this.#timeOut(run, now);',
    to: '',
  },
  {
    file: 'settle/heartbeat',
    rule: 'a handler that ignores it is given up',
    from: 'now - run.abortedAt >= spec.timeout.graceMs',
    to: 'false',
  },
  {
    file: 'settle/heartbeat',
    rule: 'all slots stuck is a fault',
    from: 'if (inFlight.hungHandlers >= spec.flow.concurrency) this.#deps.allHung();',
    to: '',
  },
  { file: 'settle/heartbeat', rule: 'silence is watched', from: 'sources[index]?.watch();', to: '{}' },
  // connection and sources
  { file: 'pull/source-health', rule: 'a stall moves to a fresh inbox', from: 'this.#puller.renew();', to: '' },
  {
    file: 'pull/source-health',
    rule: 'the second stall is a state',
    from: "if (this.#stalls >= 2) this.#enter('stalled');",
    to: '',
  },
  {
    file: 'pull/source-health',
    rule: 'a missing consumer is asked again',
    from: 'const retryMs = this.#rest();\n    this.#puller.awaitingLife = true;',
    to: 'const retryMs = 0;\n    this.#puller.awaitingLife = true;',
  },
  {
    file: 'pull/source-health',
    rule: 'a drifted consumer is not pulled from',
    from: "this.#enter('drifted');",
    to: '',
  },
  {
    file: 'engine',
    rule: 'a reconnect opens a fresh inbox',
    from: 'if (this.#draining === undefined) for (const puller of this.#pullers) puller.open();',
    to: '',
  },
  {
    file: 'engine',
    rule: 'a reconnect replays settlements',
    from: 'const resent = this.#settlements.resend(this.#ackWaitMs);',
    to: 'const resent = 0;',
  },
  {
    file: 'engine',
    rule: 'a closed connection is a fault',
    from: "this.#fault('CONNECTION_CLOSED'",
    to: "void ('CONNECTION_CLOSED'",
  },
  {
    file: 'pull/puller',
    rule: 'a message counts against the request',
    from: 'if (current && this.requested > 0) this.#delivered();',
    to: '',
  },
  {
    file: 'pull/puller',
    rule: 'the end of a pull frees its slots',
    from: 'this.requested = this.#pulls.size === 0 ? 0 : Math.max(0, this.requested - left);',
    to: '',
    survives: 'pulls that must have expired are forgotten by the clock a second later',
  },
  // shutdown
  {
    file: 'shutdown',
    rule: 'a drain waits for open pulls',
    from: 'await Promise.race([this.pullsEnded(), this.#sleep(timeoutMs)]);',
    to: '',
  },
  {
    file: 'shutdown',
    rule: 'a drain releases what waits',
    from: 'await this.#closeInboxes();\n    this.releaseWaiting(inFlight.runningKeys());',
    to: 'await this.#closeInboxes();',
  },
  {
    file: 'shutdown',
    rule: 'a drain waits for handlers',
    from: 'await Promise.race([inFlight.whenIdle(), this.#sleep(deadline - clock.now())]);',
    to: '',
  },
  {
    file: 'shutdown',
    rule: 'a drain aborts at its timeout',
    from: "run.abort(new HandlerAborted('DRAIN_FORCED', 'the pipeline is stopping",
    to: "void (new HandlerAborted('DRAIN_FORCED', 'the pipeline is stopping",
  },
  { file: 'shutdown', rule: 'a drain handles open batches', from: "inFlight.batcher?.closeAll('drain');", to: '' },
  { file: 'engine', rule: 'a pause starts nothing', from: 'this.#paused = reason;', to: '' },
];
