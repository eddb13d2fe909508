import { describe, expect, test } from 'vitest';
import { ReplyMonitor } from './reply-monitor.ts';

/** Feeds a monitor: `> text` is a command, `.` the end of a mail, anything else comes from the server. */
function violationIn(...steps: string[]): string | undefined {
  const monitor = new ReplyMonitor();
  for (const step of steps) {
    if (step === '.') monitor.mailEnded();
    else if (step.startsWith('> ')) monitor.sent(step.slice(2));
    else {
      const violation = monitor.received(step);
      if (violation !== undefined) return violation;
    }
  }
  return undefined;
}
const opened = ['220 hi\r\n', '> EHLO x', '250-x\r\n250 SIZE\r\n'];
const upToData = [...opened, '> MAIL FROM:<a>', '250 ok\r\n', '> RCPT TO:<b>', '250 ok\r\n', '> DATA'];

describe('a session in order', () => {
  test.each([
    ['one mail', [...upToData, '354 go\r\n', '.', '250 2.0.0 queued\r\n', '> QUIT', '221 bye\r\n']],
    ['replies split anywhere', ['2', '20', ' hi\r', '\n', '> EHLO x', '250-', 'x\r\n250', ' y\r\n']],
    [
      'pipelined commands',
      [...opened, '> MAIL', '> RCPT', '> DATA', '250 ok\r\n250 ok\r\n354 go\r\n', '.', '250 ok\r\n'],
    ],
    ['a refusal in the middle of the mail', [...upToData, '354 go\r\n', '552 5.3.4 too big\r\n']],
    ['a goodbye while nothing was asked', [...opened, '421 4.4.2 idle\r\n']],
    ['a reply without a text', ['220\r\n']],
    ['an enhanced code of another failure', [...opened, '> MAIL', '550 4.4.7 expired\r\n']],
  ])('%s has no violation', (_, steps) => expect(violationIn(...steps)).toBeUndefined());

  test('is idle only when nothing is due', () => {
    const monitor = new ReplyMonitor();
    expect(monitor.isIdle).toBe(false);
    monitor.received('220 hi\r\n');
    expect(monitor.isIdle).toBe(true);
    monitor.sent('DATA');
    monitor.received('354 go\r\n');
    expect(monitor.isIdle).toBe(false);
  });
});

describe('a session out of order', () => {
  test.each([
    ['words for a reply', [...opened, '> RCPT', 'hello world\r\n'], /no SMTP reply/],
    ['words without an end', [...opened, '> RCPT', 'HTTP/1.1 400 Bad'], /no SMTP reply/],
    ['a TLS alert', [...opened, '> RCPT', '\x15\x03\x01\x00\x02\x02F'], /no SMTP reply/],
    ['a code out of range', [...opened, '> RCPT', '150 ok\r\n'], /no SMTP reply/],
    ['two replies to one command', [...opened, '> MAIL', '250 ok\r\n250 ok\r\n'], /nothing was sent for/],
    ['a reply to nothing', [...opened, '250 ok\r\n'], /nothing was sent for/],
    ['250 to DATA', [...upToData, '250 huh\r\n'], /DATA cannot have/],
    ['354 to the mail', [...upToData, '354 go\r\n', '.', '354 go\r\n'], /end of mail cannot have/],
    ['354 to RCPT', [...opened, '> RCPT', '354 go\r\n'], /RCPT cannot have/],
    ['the reply to the mail before its end', [...upToData, '354 go\r\n250 queued\r\n'], /nothing was sent for/],
    ['two codes in one reply', [...opened, '> RCPT', '250-a\r\n550 b\r\n'], /two codes/],
    ['success with a code of failure', [...upToData, '354 go\r\n', '.', '250 5.7.1 no\r\n'], /contradicts/],
    ['failure with a code of success', [...upToData, '354 go\r\n', '.', '550 2.0.0 ok\r\n'], /contradicts/],
  ])('by %s is noticed', (_, steps, violation) => expect(violationIn(...steps)).toMatch(violation));
});
