import { describe, expect, test } from 'vitest';
import { createLogger } from './log.ts';
import { createRedactor } from './redact.ts';

const redact = createRedactor('a key');

describe('redaction', () => {
  test('turns an address into a keyed hash that keeps its domain and stays equal for equal addresses', () => {
    const once = redact('to ada.lovelace+x@Example.com now');
    expect(once).toMatch(/^to \[[0-9a-f]{12}\]@example\.com now$/);
    expect(redact('to ADA.lovelace+x@example.COM now')).toBe(once);
    expect(createRedactor('another key')('to ada.lovelace+x@Example.com now')).not.toBe(once);
  });

  test('leaves alone what it has written', () => {
    const once = redact('{"to":"ada@example.com","url":"https://h/p?token=1","authorization":"Bearer abcdefghij"}');
    expect(redact(once)).toBe(once);
  });

  test.each([
    ['a query of a URL', 'GET https://s3.local/b/k.png?X-Amz-Signature=CANARY&x=1 failed'],
    ['a query of a path field', '{"url":"/v1/jobs?recipient=CANARY"}'],
    ['credentials in a URL', 'cannot reach nats://user:CANARY@127.0.0.1:4222'],
    ['an authorization header', '{"headers":{"Authorization":"Bearer CANARY.CANARY"}}'],
    ['an authorization header that is a list', '{"headers":{"authorization":["Basic CANARYCANARY=="]}}'],
    ['a header inside an escaped text', String.raw`{"msg":"got {\"authorization\":\"CANARY-no-scheme\"}"}`],
    ['a bearer token in a text', 'refused: Bearer CANARY_CANARY'],
    ['a cookie', '{"cookie":"session=CANARY"}'],
    ['a secret of the object store', '{"secretAccessKey":"CANARY/+x"}'],
    ['a quoted local part', String.raw`{"to":"\"CANARY x\"@example.com"}`],
    ['an address in a URL scheme', 'mailto:CANARY@example.com'],
    ['an address with letters of any language', 'an CANARYß@example.com'],
  ])('hides %s', (_, text) => {
    expect(redact(text)).not.toContain('CANARY');
    expect(redact(text)).toMatch(/redacted|\[[0-9a-f]{12}\]@/);
  });

  test('keeps what merely looks alike', () => {
    for (const text of ['what? no', 'a @ b', '{"tokens":3}', 'version 1@2', 'https://host/path']) {
      expect(redact(text)).toBe(text);
    }
  });

  test('covers every field, the message and the error of a log line, and the line stays JSON', () => {
    const lines: string[] = [];
    const log = createLogger({
      service: 's',
      instance: 'i',
      level: 'info',
      sinks: [{ write: (line) => lines.push(line) }],
    });
    const error = Object.assign(new Error('550 <canary@example.com>'), {
      headers: { authorization: 'Bearer CANARYCANARY' },
    });
    log
      .child({ deep: { to: ['canary@example.com'] } })
      .error({ err: error, req: { url: '/v1/jobs?to=canary' } }, 'to canary@example.com');
    expect(lines.join('')).not.toMatch(/canary/i);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ err: { type: 'Error' } });
  });
});
