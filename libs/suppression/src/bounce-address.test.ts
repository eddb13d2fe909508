import { describe, expect, test } from 'vitest';
import { bounceToken, jobOfBounceToken } from './bounce-address.ts';

const SECRET = 'a secret of some length';
const jobId = 'job_abcdefghijklmnopqrstuvwxyz';
const token = bounceToken(jobId, SECRET) ?? '';

describe('the address that bounces come to', () => {
  test('names its job, also in upper case and behind others in a text', () => {
    expect(token.length).toBeLessThanOrEqual(64);
    const forged = `b-${'a'.repeat(26)}-${'b'.repeat(16)}`;
    expect(jobOfBounceToken(`${token}@bounces.example.com`, SECRET)).toBe(jobId);
    expect(jobOfBounceToken(`To: <${forged}@x>\r\nReturn-Path: <${token.toUpperCase()}@B.EXAMPLE>`, SECRET)).toBe(
      jobId,
    );
  });

  test.each([
    ['another job', token.replace('b-abc', 'b-bbc')],
    ['another signature', `${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}`],
    ['no signature', token.slice(0, 28)],
    ['more behind it', `${token}a`],
    ['nothing', ''],
  ])('with %s names none', (_, text) => expect(jobOfBounceToken(text, SECRET)).toBeUndefined());

  test('of another secret names none', () => expect(jobOfBounceToken(token, 'another secret')).toBeUndefined());

  test('is not made for what is no id of a job', () => expect(bounceToken('job_1', SECRET)).toBeUndefined());
});
