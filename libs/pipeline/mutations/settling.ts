import type { Mutation } from './mutation.ts';

/** Rules of acks, naks and of shutting down. */
export const settling: readonly Mutation[] = [
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
    from: 'this.#confirming = this.#denied.size === 0 ? undefined : ',
    to: 'this.#confirming = ',
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
    from: 'await this.#closeInboxes();\n    this.releaseWaiting({ keep: inFlight.runningKeys() });',
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
  {
    file: 'engine',
    rule: 'a pause starts nothing',
    from: 'const pause = (this.#paused ??= Symbol(reason));',
    to: 'const pause = Symbol(reason);',
  },
  {
    file: 'engine',
    rule: 'what a pause has not done yet is not for a later one',
    from: 'this.#paused === pause &&',
    to: 'this.#paused !== undefined &&',
  },
];
