// What an SMTP server can do wrong, as data: the suite asserts it, `pnpm --filter @sluice/email faults` prints it.
import { startScriptedSmtp, type ScriptedSmtp, type SmtpScript } from '@sluice/dev';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from './email-run.ts';

/** What became of the mails of one run. */
export interface FaultRow {
  readonly fault: string;
  /** `sent by a`, a failure's code, or `dead letter`. */
  readonly outcome: string;
  /** Deliveries of the message: 1 means that no retry was used up. */
  readonly deliveries: number;
  /** SMTP attempts over all providers. */
  readonly attempts: number;
  /** Copies a server has at the end. */
  readonly copies: number;
  /** Message-IDs among all transmissions: 1, however many copies. */
  readonly messageIds: number;
  /** Whether the result owns up to a possible duplicate. */
  readonly ambiguous: boolean;
}

/** The servers of a run. */
export interface Servers {
  readonly a: ScriptedSmtp;
  readonly b: ScriptedSmtp;
}

export interface Fault {
  readonly name: string;
  /** What A does, once per listed action, before it means well again. */
  readonly script?: SmtpScript;
  /** What B does. */
  readonly scriptB?: SmtpScript;
  /** For faults that are no script. Runs when the mail has been asked for. */
  readonly act?: (servers: Servers) => Promise<void>;
  readonly before?: (servers: Servers) => Promise<void>;
  readonly expected: Omit<FaultRow, 'fault'>;
}

const sent = (
  by: string,
  deliveries: number,
  attempts: number,
  more: Partial<FaultRow> = {},
): Omit<FaultRow, 'fault'> => ({
  outcome: `sent by ${by}`,
  deliveries,
  attempts,
  copies: 1,
  messageIds: 1,
  ambiguous: false,
  ...more,
});
const failed = (code: string): Omit<FaultRow, 'fault'> => ({
  outcome: code,
  deliveries: 1,
  attempts: 1,
  copies: 0,
  messageIds: 0,
  ambiguous: false,
});
const hang = { kind: 'hang' } as const;
/** A server's bytes in place of its reply; `stored` for those to a mail. */
const bytes = (text: string, stored?: boolean) =>
  ({ kind: 'bytes', bytes: text, ...(stored === undefined ? {} : { stored }) }) as const;
const refusal = (text: string) => bytes(`${text}\r\n`);

/** Faults of the only provider there is. */
export const singleProviderFaults: readonly Fault[] = [
  { name: 'none', expected: sent('a', 1, 1) },
  {
    name: '421 at the greeting, then well',
    script: { banner: [{ kind: 'reply', code: 421 }] },
    expected: sent('a', 1, 2),
  },
  { name: '421 at RCPT, then well', script: { rcpt: [{ kind: 'reply', code: 421 }] }, expected: sent('a', 1, 2) },
  { name: '550 to our sender, then well', script: { mail: [{ kind: 'reply', code: 550 }] }, expected: sent('a', 1, 2) },
  {
    name: '451 at RCPT (greylisting), then well',
    script: { rcpt: [{ kind: 'reply', code: 451, text: '4.7.1 Try later' }] },
    expected: sent('a', 2, 2),
  },
  { name: '451 at DATA, then well', script: { data: [{ kind: 'reply', code: 451 }] }, expected: sent('a', 2, 2) },
  {
    name: '452 after DATA, then well',
    script: { body: [{ kind: 'reply', code: 452 }] },
    expected: sent('a', 2, 2),
  },
  {
    name: '550 at RCPT',
    script: { rcpt: [{ kind: 'reply', code: 550, text: '5.1.1 no such user' }] },
    expected: failed('mail_rejected'),
  },
  { name: '553 at RCPT', script: { rcpt: [{ kind: 'reply', code: 553 }] }, expected: failed('mail_rejected') },
  { name: '552 at MAIL', script: { mail: [{ kind: 'reply', code: 552 }] }, expected: failed('mail_too_large') },
  {
    name: '554 after DATA',
    script: { body: [{ kind: 'reply', code: 554 }] },
    expected: { ...failed('mail_rejected'), messageIds: 1 },
  },
  { name: 'hang at the greeting, then well', script: { banner: [hang] }, expected: sent('a', 1, 2) },
  { name: 'hang at EHLO, then well', script: { ehlo: [hang] }, expected: sent('a', 1, 2) },
  { name: 'hang at MAIL, then well', script: { mail: [hang] }, expected: sent('a', 1, 2) },
  { name: 'hang at RCPT, then well', script: { rcpt: [hang] }, expected: sent('a', 1, 2) },
  { name: 'hang at DATA, then well', script: { data: [hang] }, expected: sent('a', 1, 2) },
  { name: 'hang after DATA, then well', script: { body: [hang] }, expected: sent('a', 2, 2, { ambiguous: true }) },
  {
    name: 'stored, then dropped after DATA',
    script: { body: [{ kind: 'drop', stored: true }] },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
  {
    name: 'stored, then reset after DATA',
    script: { body: [{ kind: 'reset', stored: true }] },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
  {
    name: 'dropped after DATA, not stored',
    script: { body: [{ kind: 'drop' }] },
    expected: sent('a', 2, 2, { ambiguous: true }),
  },
  { name: 'dropped at RCPT, then well', script: { rcpt: [{ kind: 'drop' }] }, expected: sent('a', 1, 2) },
  {
    name: 'drips one byte at a time, then well',
    script: { ehlo: [{ kind: 'drip', everyMs: 200 }] },
    expected: sent('a', 1, 2),
  },
  { name: 'garbage for a greeting, then well', script: { banner: [{ kind: 'garbage' }] }, expected: sent('a', 1, 2) },
  {
    name: 'words for a reply at RCPT, then well',
    script: { rcpt: [bytes('hello world\r\n')] },
    expected: sent('a', 1, 2),
  },
  {
    name: 'two replies to MAIL, then well',
    script: { mail: [bytes('250 ok\r\n250 ok\r\n')] },
    expected: sent('a', 1, 2),
  },
  { name: '250 to DATA, then well', script: { data: [bytes('250 huh\r\n')] }, expected: sent('a', 1, 2) },
  {
    name: 'the reply to the mail before its end, then well',
    script: { data: [bytes('354 go\r\n250 queued\r\n')] },
    expected: sent('a', 1, 2),
  },
  {
    name: 'words after DATA, stored',
    script: { body: [bytes('hello\r\n', true)] },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
  {
    name: '354 after DATA, stored',
    script: { body: [bytes('354 go on\r\n', true)] },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
  {
    name: 'half a reply after DATA, stored, then dropped',
    script: { body: [bytes('25', true)], quit: { kind: 'drop' } },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
  {
    name: '550 relay not permitted at RCPT',
    script: { rcpt: refusal('550 relay not permitted') },
    expected: failed('mail_rejected'),
  },
  {
    name: '550 5.1.1 after DATA',
    script: { body: refusal('550 5.1.1 no such user') },
    expected: { ...failed('mail_rejected'), messageIds: 1 },
  },
  {
    name: '552 5.3.4 after DATA',
    script: { body: refusal('552 5.3.4 too big') },
    expected: { ...failed('mail_too_large'), messageIds: 1 },
  },
  {
    name: 'refuses connections for a while',
    before: ({ a }) => a.refuse(),
    act: async ({ a }) => {
      await sleep(700);
      await a.accept();
    },
    expected: { ...sent('a', 1, 0) },
  },
];

/** A says no at RCPT in these words, and B takes the mail. */
const passedOn = (name: string, words: string): Fault => ({
  name: `${name}, B well`,
  script: { rcpt: refusal(words) },
  expected: sent('b', 1, 2),
});

/** Faults with a second provider behind the first. */
export const failoverFaults: readonly Fault[] = [
  { name: 'A refuses connections, B well', before: ({ a }) => a.refuse(), expected: sent('b', 1, 2) },
  { name: 'A says 451 at RCPT, B well', script: { rcpt: { kind: 'reply', code: 451 } }, expected: sent('b', 1, 2) },
  {
    name: 'A says 421 at the greeting, B well',
    script: { banner: { kind: 'reply', code: 421 } },
    expected: sent('b', 1, 2),
  },
  {
    name: 'A refuses our login (535), B well',
    script: { auth: { kind: 'reply', code: 535 } },
    expected: sent('b', 1, 2),
  },
  { name: 'A hangs at RCPT, B well', script: { rcpt: hang }, expected: sent('b', 1, 2) },
  {
    name: 'A says 550 5.1.1 at RCPT: B is not asked',
    script: { rcpt: refusal('550 5.1.1 no such user') },
    expected: failed('mail_rejected'),
  },
  passedOn('A denies relaying at RCPT', '554 5.7.1 <x>: Relay access denied'),
  passedOn('A wants a login at RCPT (530)', '530 5.7.0 Authentication required'),
  passedOn('A has us on a list', '554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org'),
  passedOn('A says our day is over (5.4.5)', '550 5.4.5 Daily user sending limit exceeded.'),
  passedOn('A says 550 and not why', '550 no'),
  {
    name: 'A denies relaying after DATA, B well',
    script: { body: refusal('550 5.7.1 relaying denied') },
    expected: sent('b', 1, 2, {}),
  },
  {
    name: 'both deny relaying',
    script: { rcpt: refusal('554 5.7.1 Relay access denied') },
    scriptB: { rcpt: refusal('550 relay not permitted') },
    expected: failed('mail_rejected'),
  },
  {
    name: 'A denies relaying, B says 451: it waits for B',
    script: { rcpt: refusal('554 5.7.1 Relay access denied') },
    scriptB: { rcpt: [{ kind: 'reply', code: 451 }] },
    expected: sent('b', 2, 4),
  },
  { name: 'A sends words at RCPT, B well', script: { rcpt: bytes('hello world\r\n') }, expected: sent('b', 1, 2) },
  {
    name: 'A stored it and sent words: B is not asked',
    script: { body: [bytes('hello\r\n', true)] },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
  {
    name: 'A says 451 after DATA: B is not asked',
    script: { body: [{ kind: 'reply', code: 451 }] },
    expected: sent('a', 2, 2),
  },
  {
    name: 'A stored it and dropped: B is not asked',
    script: { body: [{ kind: 'drop', stored: true }] },
    expected: sent('a', 2, 2, { copies: 2, ambiguous: true }),
  },
];

/** Faults of TLS at a provider that must have it. */
export const tlsFaults: readonly Fault[] = [
  { name: 'A offers no STARTTLS, B well', expected: sent('b', 1, 2) },
  { name: 'A breaks the TLS handshake, B well', script: { starttls: { kind: 'garbage' } }, expected: sent('b', 1, 2) },
  {
    name: 'A refuses STARTTLS (454), B well',
    script: { starttls: { kind: 'reply', code: 454 } },
    expected: sent('b', 1, 2),
  },
];

export async function startServers(): Promise<Servers> {
  const [a, b] = await Promise.all([startScriptedSmtp(), startScriptedSmtp()]);
  return { a, b };
}

/** Sends one mail through a fault and reports what came of it. */
export async function runFault(broker: Broker, servers: Servers, fault: Fault): Promise<FaultRow> {
  const jobId = `job_${fault.name.replace(/[^A-Za-z0-9]+/g, '_')}`;
  const to = `${jobId.toLowerCase().replaceAll('_', '.').replace(/\.$/, '')}@example.com`;
  // Faults of the first steps show only on a new session.
  await servers.a.refuse();
  await servers.a.accept();
  await sleep(50);
  servers.a.play(fault.script);
  servers.b.play(fault.scriptB);
  await fault.before?.(servers);
  await broker.ask({ jobId, to });
  await fault.act?.(servers);
  const { result, deadLetter } = await broker.ended(jobId);
  servers.a.play();
  servers.b.play();
  await servers.a.accept();

  const mails = [...servers.a.mails, ...servers.b.mails].filter((mail) => mail.to.includes(to));
  const ids = new Set(mails.map(({ data }) => /^Message-ID: (.*)\r$/m.exec(data)?.[1]));
  const common = { fault: fault.name, copies: mails.filter(({ stored }) => stored).length, messageIds: ids.size };
  if (result === undefined) {
    return {
      ...common,
      outcome: deadLetter === undefined ? 'lost' : 'dead letter',
      deliveries: 0,
      attempts: 0,
      ambiguous: false,
    };
  }
  const { outcome, attempt } = result;
  if (outcome.case === 'succeeded') {
    const { provider, attempts, ambiguous } = outcome.value;
    return { ...common, outcome: `sent by ${provider}`, deliveries: attempt, attempts, ambiguous };
  }
  const ended = outcome.case === 'failed' ? outcome.value.code : (outcome.case ?? 'nothing');
  return { ...common, outcome: ended, deliveries: attempt, attempts: 1, ambiguous: false };
}

/** The run a row belongs to, as the table groups them. */
export interface FaultGroup {
  readonly title: string;
  readonly urls: (servers: Servers) => string;
  readonly faults: readonly Fault[];
}

export const faultGroups: readonly FaultGroup[] = [
  { title: 'one provider', urls: ({ a }) => a.url, faults: singleProviderFaults },
  {
    title: 'two providers',
    urls: ({ a, b }) => `${a.url.replace('//', '//user:pass@')},${b.url}`,
    faults: failoverFaults,
  },
  { title: 'TLS required of A', urls: ({ a, b }) => `${a.url}?tls=required,${b.url}`, faults: tlsFaults },
];

/** A row as a line of the table. */
export function tableLine(row: FaultRow): string {
  const { fault, outcome, deliveries, attempts, copies, messageIds, ambiguous } = row;
  return `| ${fault} | ${outcome} | ${deliveries} | ${attempts} | ${copies} | ${messageIds} | ${ambiguous ? 'yes' : 'no'} |`;
}

export const tableHead = [
  '| fault | outcome | deliveries | SMTP attempts | copies | Message-IDs | marked ambiguous |',
  '| --- | --- | --- | --- | --- | --- | --- |',
].join('\n');
