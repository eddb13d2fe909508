// Servers whose replies are split, repeated, reordered, cut, mixed with other bytes or missing. Whichever way a mail's server
// sends, the mail is delivered at most once or marked ambiguous, none is lost and no recipient is suppressed.
//
// MUTATED_MAILS sets how many mails; 10000 is the full run. MUTATION_SEED repeats a run.
import { startScriptedSmtp, type ScriptedSmtp, type SmtpAction, type SmtpStage } from '@sluice/dev';
import { openSuppressions } from '@sluice/suppression';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shortTimeouts, startBroker, type Broker, type EmailProcess } from './email-run.ts';
import { signingMailer } from './signing.ts';

const MAILS = Number(process.env['MUTATED_MAILS'] ?? 200);
const SEED = Number(process.env['MUTATION_SEED'] ?? 1);
/** Mails in the system at once. */
const BATCH = 2_000;

/** Mulberry32: the same run for the same seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const usual: Partial<Record<SmtpStage, string>> = {
  banner: '220 scripted.test ESMTP\r\n',
  ehlo: '250-scripted.test\r\n250 8BITMIME\r\n',
  mail: '250 2.1.0 ok\r\n',
  rcpt: '250 2.1.5 ok\r\n',
  data: '354 go ahead\r\n',
  body: '250 2.0.0 queued\r\n',
  rset: '250 2.0.0 ok\r\n',
};
/** A signed mail, from its first header to its last boundary. */
const WHOLE = /^DKIM-Signature: v=1;[^]*\r\n--=_alternative--\r\n$/;
const stages = Object.keys(usual) as SmtpStage[];
const noise = [
  'hello world\r\n',
  '\u0015\u0003\u0001\u0000\u0002\u0002F',
  'HTTP/1.1 400 Bad Request\r\n\r\n',
  '\u0000\u0001\u0002\r\n',
  '999 what\r\n',
  '2500 ok\r\n',
  '-ERR\r\n',
  '\r\n\r\n',
];

/**
 * One faulty action at a stage. What it never does is turn one well-formed reply into another that says the opposite:
 * a server that stored a mail and says 550 has lied, and no client can know.
 */
function mutated(stage: SmtpStage, random: (below: number) => number): SmtpAction {
  const reply = usual[stage] ?? '250 ok\r\n';
  const other = usual[stages[random(stages.length)] ?? 'mail'] ?? '250 ok\r\n';
  const junk = noise[random(noise.length)] ?? '';
  // Without an answer the server has the mail or not. One that begins with success has it, or it would have lied.
  const stored = random(2) === 0;
  const bytes = (text: string): SmtpAction =>
    stage === 'body'
      ? { kind: 'bytes', bytes: text, stored: stored || /^\s*2\d\d[ -]/.test(text) }
      : { kind: 'bytes', bytes: text };
  const at = random(reply.length);
  const replies = [
    reply + reply,
    reply + other,
    other + reply,
    other,
    junk,
    junk + reply,
    reply + junk,
    reply.slice(0, at),
    reply.slice(0, at) + String.fromCodePoint(128 + random(100)) + reply.slice(at + 1),
  ].map(bytes);
  const actions: readonly SmtpAction[] = [
    ...replies,
    { kind: 'drip', everyMs: 1 },
    { kind: 'drop', stored },
    { kind: 'reset', stored },
  ];
  return actions[random(actions.length)] ?? { kind: 'accept' };
}

let broker: Broker;
let smtp: ScriptedSmtp;
let email: EmailProcess;
beforeAll(async () => {
  [broker, smtp] = await Promise.all([startBroker(), startScriptedSmtp()]);
  email = await broker.email(smtp.url, {
    env: {
      ...signingMailer().env,
      HOLD_MS: '600',
      RETRY_ATTEMPTS: '1000',
      RETRY_BASE_MS: '50',
      RETRY_MAX_MS: '100',
      CONCURRENCY: '400',
    },
    tuning: {
      ...shortTimeouts,
      timeouts: { connectMs: 600, greetingMs: 300, silenceMs: 200, attemptMs: 1_500 },
      // What breakers do has a suite of its own; here every mail is to meet as many faults as it can.
      breaker: { minAttempts: 1_000_000, window: 1_000_000, probeAfterMs: 50, probeAtMostMs: 100 },
    },
  });
});
afterAll(async () => {
  await email?.stop();
  await Promise.all([smtp?.close(), broker?.close()]);
});

test(`of ${MAILS} mails to a server with mutated replies none is lost, none doubled unmarked`, async () => {
  const random = randomOf(SEED);
  // Which replies are mutated is drawn as they are due, one in four; so sessions, not mails, meet them.
  smtp.play({ decide: (stage) => (random(4) === 0 ? mutated(stage, random) : undefined) });
  const jobs = Array.from({ length: MAILS }, (_, n) => `job_mutated_${n}`);
  const lost: string[] = [];
  const figures = { once: 0, ambiguous: 0, deadLetters: 0, copiesOfAmbiguous: 0 };
  for (let from = 0; from < MAILS; from += BATCH) {
    const batch = jobs.slice(from, from + BATCH);
    await Promise.all(batch.map((jobId) => broker.ask({ jobId, to: `${jobId}@example.com` })));
    const ends = await Promise.all(batch.map((jobId) => broker.ended(jobId)));
    const copiesOf = new Map<string, number>();
    for (const { to, stored, data } of smtp.mails) {
      // What was cut off or ran into another mail is none.
      if (stored && !WHOLE.test(data)) lost.push(`a mail to ${to.join()} in pieces`);
      if (stored) copiesOf.set(to[0] ?? '', (copiesOf.get(to[0] ?? '') ?? 0) + 1);
    }
    for (const { jobId, result, deadLetter } of ends) {
      const copies = copiesOf.get(`${jobId}@example.com`) ?? 0;
      const sent = result?.outcome.case === 'succeeded' ? result.outcome.value : undefined;
      // A dead letter says that the mail may have been delivered: three attempts had no answer.
      const ambiguous = sent?.ambiguous === true || /may have been delivered/.test(deadLetter ?? '');
      figures[sent === undefined ? 'deadLetters' : ambiguous ? 'ambiguous' : 'once'] += 1;
      if (ambiguous) figures.copiesOfAmbiguous += copies;
      if (!ambiguous && copies !== 1) lost.push(`${jobId}: ${copies} copies, ${JSON.stringify(result?.outcome)}`);
      if (sent === undefined && !ambiguous) lost.push(`${jobId}: ${result?.outcome.case} ${deadLetter}`);
    }
  }
  console.info(`mutated replies, seed ${SEED}:`, figures);
  expect(lost).toEqual([]);
  const suppressed = [];
  for await (const entry of (await openSuppressions(broker.bus.nc)).list()) suppressed.push(entry);
  expect(suppressed).toEqual([]);
}, 1_800_000);
