/** What the client waits for: the greeting, the reply to a command, or the reply to the end of a mail. */
export type Awaited = 'greeting' | 'MAIL' | 'RCPT' | 'DATA' | 'end of mail' | 'other';

/** A reply line: a code, and behind it nothing, a space or the hyphen of a continuation (RFC 5321 4.2). */
const REPLY_LINE = /^([2-5]\d\d)(?:([ -])(.*))?$/;
/** An enhanced status code at the beginning of a reply's text (RFC 2034). */
const ENHANCED = /^([245])\.\d{1,3}\.\d{1,3}(?:\s|$)/;

/**
 * Checks that what a server sends is one reply for each command and nothing else. A mail library that takes the first
 * line it gets for the reply it waits for is wrong from then on: a stray line shifts every later reply by one, so a mail
 * is reported as sent before the server has it, or as failed after it was taken. After the first violation the session
 * is of no use; whether the mail in it was sent depends on whether its end was sent.
 */
export class ReplyMonitor {
  #awaited: Awaited[] = ['greeting'];
  #inMail = false;
  #partial = '';
  #code: string | undefined;

  /** The reply that comes next; undefined when none is due. */
  get awaited(): Awaited | undefined {
    return this.#inMail ? 'end of mail' : this.#awaited[0];
  }

  /** Whether the next command may be sent: nothing is due and no half line is left. */
  get isIdle(): boolean {
    return this.#awaited.length === 0 && !this.#inMail && this.#partial === '' && this.#code === undefined;
  }

  /** A command was sent. */
  sent(command: string): void {
    const verb = /^(MAIL|RCPT|DATA)\b/i.exec(command)?.[1]?.toUpperCase();
    this.#awaited.push((verb as 'MAIL' | 'RCPT' | 'DATA' | undefined) ?? 'other');
  }

  /** The last byte of the mail was handed over. */
  mailEnded(): void {
    this.#inMail = false;
    this.#awaited.push('end of mail');
  }

  /**
   * Reads what came from the server.
   *
   * @returns the first violation, or undefined.
   */
  received(bytes: string): string | undefined {
    const lines = (this.#partial + bytes).split(/\r?\n/);
    this.#partial = lines.pop() ?? '';
    for (const line of lines) {
      const violation = line.trim() === '' ? undefined : this.#line(line);
      if (violation !== undefined) return violation;
    }
    // A line that can no longer become a reply is one already, so that a server that never ends it is not waited for.
    if (!/^(?:[2-5]\d{0,2}|[2-5]\d\d[ -].*)?\r?$/.test(this.#partial)) return notAReply(this.#partial);
    return undefined;
  }

  #line(line: string): string | undefined {
    const [, code = '', separator, text = ''] = REPLY_LINE.exec(line) ?? [];
    if (code === '') return notAReply(line);
    if (this.#code !== undefined && this.#code !== code) return `a reply with two codes, ${this.#code} and ${code}`;
    const enhanced = ENHANCED.exec(text)?.[1];
    if (enhanced !== undefined && (enhanced === '2') !== (code[0] === '2')) {
      return `a reply that contradicts itself: ${line}`;
    }
    this.#code = separator === '-' ? code : undefined;
    return separator === '-' ? undefined : this.#reply(code, line);
  }

  #reply(code: string, line: string): string | undefined {
    const awaited = this.#awaited.shift();
    // RFC 5321 3.8: a server may send 421 at any time when it is about to close.
    if (code === '421') return undefined;
    const failed = code.startsWith('4') || code.startsWith('5');
    if (awaited === undefined) {
      // In the middle of a mail a server may give up on it; it cannot take it yet.
      return this.#inMail && failed ? undefined : `a reply that nothing was sent for: ${line}`;
    }
    if (awaited === 'DATA') {
      this.#inMail = code === '354';
      return code === '354' || failed ? undefined : `a reply that DATA cannot have: ${line}`;
    }
    if (awaited === 'greeting' || awaited === 'other') return undefined;
    return code.startsWith('2') || failed ? undefined : `a reply that ${awaited} cannot have: ${line}`;
  }
}

const notAReply = (line: string): string => `no SMTP reply: ${line}`;
