import { describe, expect, test } from 'vitest';
import { bounceToken, readBounceToken } from './bounce-address.ts';

const SECRET = 'a secret of some length';
const jobId = 'job_abcdefghijklmnopqrstuvwxyz';
const token = bounceToken(jobId, SECRET) ?? '';

describe('the address that bounces come to', () => {
  test('names its job, also in upper case and behind others in a text', () => {
    expect(token.length).toBeLessThanOrEqual(64);
    const forged = `b-${'a'.repeat(26)}-${'b'.repeat(16)}`;
    expect(readBounceToken(`${token}@bounces.example.com`, SECRET)).toEqual({ jobId, copy: 0 });
    expect(readBounceToken(`To: <${forged}@x>\r\nReturn-Path: <${token.toUpperCase()}@B.EXAMPLE>`, SECRET)).toEqual({
      jobId,
      copy: 0,
    });
  });

  test('names the copy that it was for, and only with its own signature', () => {
    const third = bounceToken(jobId, SECRET, 3) ?? '';
    expect(third.length).toBeLessThanOrEqual(64);
    expect(readBounceToken(`${third.toUpperCase()}@b.example`, SECRET)).toEqual({ jobId, copy: 3 });
    expect(readBounceToken(`${token}-3@b.example`, SECRET)).toBeUndefined();
    expect(readBounceToken(third.replace(/-3$/, '-4'), SECRET)).toBeUndefined();
    expect(readBounceToken(third.replace(/-3$/, ''), SECRET)).toBeUndefined();
  });

  test.each([
    ['another job', token.replace('b-abc', 'b-bbc')],
    ['another signature', `${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}`],
    ['no signature', token.slice(0, 28)],
    ['more behind it', `${token}a`],
    ['nothing', ''],
  ])('with %s names none', (_, text) => expect(readBounceToken(text, SECRET)).toBeUndefined());

  test('of another secret names none', () => expect(readBounceToken(token, 'another secret')).toBeUndefined());

  test('is not made for what is no id of a job', () => expect(bounceToken('job_1', SECRET)).toBeUndefined());
});
