import { isSubjectToken } from '@sluice/contracts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { derivedJobId, isJobId, jobIdFor, newJobId } from './id.ts';

describe('the id of a job', () => {
  test('is one subject token, for any account and key', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.nat(7), (account, key, generation) => {
        const id = jobIdFor(account, key, generation);
        expect(isJobId(id) && isSubjectToken(id)).toBe(true);
        expect(jobIdFor(account, key, generation)).toBe(id);
      }),
    );
  });

  test('differs between accounts, keys and generations, however they are cut', () => {
    const ids = [
      jobIdFor('a', 'bc'),
      jobIdFor('ab', 'c'),
      jobIdFor('a', '0:bc'),
      jobIdFor('a', 'bc', 1),
      jobIdFor('', 'abc'),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('that the system derives is reached by no account and key', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.nat(7), fc.string(), (account, key, generation, of) => {
        const derived = derivedJobId('notify', of);
        expect(isJobId(derived)).toBe(true);
        expect(derivedJobId('notify', of)).toBe(derived);
        for (const guess of [key, `notify:${of}`, `derived:notify:${of}`])
          expect(jobIdFor(account, guess, generation)).not.toBe(derived);
      }),
    );
  });

  test('is random without a key', () => {
    const ids = Array.from({ length: 100 }, () => newJobId());
    expect(new Set(ids).size).toBe(100);
    expect(ids.every(isJobId)).toBe(true);
  });

  test('is told from anything else', () => {
    expect(['', 'job_', 'job_ABC', `${newJobId()}.x`, '../etc'].filter(isJobId)).toEqual([]);
  });
});
