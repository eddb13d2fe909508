import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** The points of a session at which a script can step in. `body` is the reply after the last line of the mail. */
export type SmtpStage = 'banner' | 'ehlo' | 'starttls' | 'auth' | 'mail' | 'rcpt' | 'data' | 'body' | 'rset' | 'quit';

/**
 * What happens at a stage:
 * - `accept`: the usual reply
 * - `reply`: this code instead (with `text`, also an enhanced code such as `4.7.1 Try later`)
 * - `hang`: nothing, with the connection open
 * - `delay`: the usual reply, later
 * - `drip`: the usual reply, one byte at a time
 * - `drop`: the connection closes without a reply. At `body`, `stored` says whether the mail was taken before: the
 *   client cannot know
 * - `reset`: as `drop`, by a TCP reset
 * - `bytes`: these bytes in place of the reply; they may be half a reply or several. The session goes
 *   on as their first three digits say. At `body`, `stored` says whether the mail was taken; when absent, a 2xx takes it
 * - `garbage`: bytes that are no SMTP; at `starttls`, a go-ahead and then no TLS
 */
export type SmtpAction =
  | { kind: 'accept' }
  | { kind: 'reply'; code: number; text?: string }
  | { kind: 'hang' }
  | { kind: 'delay'; delayMs: number }
  | { kind: 'drip'; everyMs: number }
  | { kind: 'drop' | 'reset'; stored?: boolean }
  | { kind: 'bytes'; bytes: string; stored?: boolean }
  | { kind: 'garbage' };

/** Per stage one action for every time, or a list that is used up one by one, after which the stage accepts. A `starttls` or `auth` entry makes EHLO offer it. */
export type SmtpScript = Partial<Record<SmtpStage, SmtpAction | SmtpAction[]>> & {
  /** What happens at `rcpt` for recipients of a domain, in place of the `rcpt` entry. */
  domains?: Record<string, SmtpAction>;
  /** EHLO offers no SMTPUTF8 (RFC 6531). */
  noSmtpUtf8?: boolean;
  /** Decides on a stage when it comes; undefined leaves it to the other entries. */
  decide?: (stage: SmtpStage) => SmtpAction | undefined;
};

/** A mail as it came in. */
export interface ScriptedMail {
  from: string;
  to: string[];
  /** MAIL said that addresses are outside ASCII (RFC 6531). */
  smtpUtf8: boolean;
  /** The size that MAIL declared (RFC 1870). */
  size: number | undefined;
  /** The message, dots unstuffed, lines ended by CRLF. */
  data: string;
  /** Whether a real server would have it now: accepted with 250, or dropped after it was stored. */
  stored: boolean;
  /** The code the client got; undefined when the script let it get none. */
  reply: number | undefined;
}

const MAX_LINE_CHARS = 64 * 1024;

function nextAction(script: SmtpScript, stage: SmtpStage): SmtpAction {
  const decided = script.decide?.(stage);
  if (decided !== undefined) return decided;
  const entry = script[stage];
  const action = Array.isArray(entry) ? entry.shift() : entry;
  return action ?? { kind: 'accept' };
}

/** Plays an action with `usual` as the reply of a server that means well. Resolves to the code sent; undefined when the session ends or hangs here. */
async function act(socket: Socket, action: SmtpAction, usual: string): Promise<number | undefined> {
  // Blank lines before a reply are stepped over by clients, so what counts is the code behind them.
  const codeOf = (reply: string): number => Number(/^\s*(\d{3})/.exec(reply)?.[1] ?? 0);
  switch (action.kind) {
    case 'accept':
      socket.write(`${usual}\r\n`);
      return codeOf(usual);
    case 'reply':
      socket.write(`${action.code} ${action.text ?? 'as the script says'}\r\n`);
      return action.code;
    case 'delay':
      await sleep(action.delayMs);
      socket.write(`${usual}\r\n`);
      return codeOf(usual);
    case 'drip':
      for (const byte of Buffer.from(`${usual}\r\n`)) {
        if (socket.destroyed) return undefined;
        socket.write(Buffer.of(byte));
        await sleep(action.everyMs);
      }
      return codeOf(usual);
    case 'hang':
      if (!socket.destroyed) await once(socket, 'close');
      return undefined;
    case 'bytes':
      socket.write(action.bytes, 'latin1');
      return codeOf(action.bytes);
    case 'drop':
      socket.destroySoon();
      return undefined;
    case 'reset':
      socket.resetAndDestroy();
      return undefined;
    default:
      socket.write('\u0000\u0001 not SMTP \r\n');
      return undefined;
  }
}

function addressOf(line: string): string {
  return /<([^>]*)>/.exec(line)?.[1] ?? '';
}

function sizeOf(line: string): number | undefined {
  const declared = /\bSIZE=(\d+)/i.exec(line)?.[1];
  return declared === undefined ? undefined : Number(declared);
}

/** Reads a DATA section; undefined when the connection ends inside it. */
async function readData(lines: AsyncIterator<string>): Promise<string | undefined> {
  const received: string[] = [];
  for (;;) {
    const next = await lines.next();
    if (next.done === true) return undefined;
    if (next.value === '.') return `${received.join('\r\n')}\r\n`;
    received.push(next.value.startsWith('.') ? next.value.slice(1) : next.value);
  }
}

/** Whether a server that ends a mail this way has it. */
function isStored(ending: SmtpAction): boolean {
  switch (ending.kind) {
    case 'reply':
      return ending.code < 400;
    case 'drop':
    case 'reset':
      return ending.stored ?? false;
    case 'bytes':
      return ending.stored ?? ending.bytes.startsWith('2');
    case 'hang':
    case 'garbage':
      return false;
    default:
      return true;
  }
}

function ehloReply(script: SmtpScript): string {
  const extensions = ['scripted.test', '8BITMIME', 'ENHANCEDSTATUSCODES'];
  if (script.noSmtpUtf8 !== true) extensions.push('SMTPUTF8');
  if (script.auth) extensions.push('AUTH PLAIN LOGIN');
  if (script.starttls) extensions.push('STARTTLS');
  return extensions.map((name, i) => `250${i === extensions.length - 1 ? ' ' : '-'}${name}`).join('\r\n');
}

const VERBS: Readonly<Record<string, SmtpStage>> = {
  EHLO: 'ehlo',
  HELO: 'ehlo',
  STARTTLS: 'starttls',
  AUTH: 'auth',
  MAIL: 'mail',
  RCPT: 'rcpt',
  DATA: 'data',
  RSET: 'rset',
  QUIT: 'quit',
};

function usualReply(stage: SmtpStage, script: SmtpScript): string {
  switch (stage) {
    case 'banner':
      return '220 scripted.test ESMTP';
    case 'ehlo':
      return ehloReply(script);
    case 'auth':
      return '235 2.7.0 welcome';
    case 'data':
      return '354 go ahead';
    case 'quit':
      return '221 2.0.0 bye';
    case 'starttls':
      return '454 4.7.0 TLS not available';
    default:
      return '250 2.0.0 ok';
  }
}

/** Serves one connection. Every stage asks for the script anew, so it can be replaced while a session is open. */
export async function serveSmtp(
  socket: Socket,
  script: () => SmtpScript,
  record: (mail: ScriptedMail) => void,
): Promise<void> {
  const reader = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
  const lines = reader[Symbol.asyncIterator]();
  const perform = async (stage: SmtpStage, action = nextAction(script(), stage)): Promise<number | undefined> =>
    await act(socket, action, usualReply(stage, script()));

  if ((await perform('banner')) === undefined) return;
  let from = '';
  let to: string[] = [];
  let size: number | undefined;
  let smtpUtf8 = false;
  for (;;) {
    const next = await lines.next();
    if (next.done === true || next.value.length > MAX_LINE_CHARS) break;
    const line = next.value;
    const stage = VERBS[(line.split(' ')[0] ?? '').toUpperCase()];
    if (stage === undefined) {
      socket.write('500 5.5.1 unknown command\r\n');
      continue;
    }
    const domain = stage === 'rcpt' ? addressOf(line).replace(/^.*@/, '') : '';
    const action = script().domains?.[domain] ?? nextAction(script(), stage);
    if (stage === 'starttls' && action.kind === 'garbage') socket.write('220 2.0.0 go ahead\r\n');
    const code = await perform(stage, action);
    if (code === undefined) {
      if (action.kind === 'garbage') continue;
      break;
    }
    if (stage === 'quit') break;
    if (stage === 'mail') {
      [from, to, size] = [addressOf(line), [], sizeOf(line)];
      smtpUtf8 = / SMTPUTF8\b/.test(line);
    } else if (stage === 'rset') [from, to] = ['', []];
    else if (stage === 'rcpt' && code >= 200 && code < 400) to.push(addressOf(line));
    else if (stage === 'data' && code === 354) {
      const data = await readData(lines);
      if (data === undefined) break;
      const ending = nextAction(script(), 'body');
      // Recorded before the reply: who waits for the client to be told can look right then.
      const mail: ScriptedMail = { from, to, smtpUtf8, size, data, stored: isStored(ending), reply: undefined };
      record(mail);
      mail.reply = await perform('body', ending);
      if (mail.reply === undefined && ending.kind !== 'garbage') break;
    }
  }
  reader.close();
  socket.end();
}
