import { createHash, randomBytes } from 'node:crypto';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const ID = /^job_[a-z2-7]{26}$/;

/**
 * The id of the job that a request with this `Idempotency-Key` makes: the same for the same account and key, so a
 * repeated request meets its own job after a crash at any point, and unguessable without the key.
 *
 * @param generation Tells the uses of a key apart that are no repeats of each other.
 */
export function jobIdFor(account: string, key: string, generation = 0): string {
  const digest = createHash('sha256').update(`${account.length}:${account}${generation}:${key}`).digest();
  return `job_${base32(digest)}`;
}

/** What the system makes a job for, of its own accord. */
export type DerivedPurpose = 'notify';

/**
 * The id of a job that the system makes because of another one: derived, so that making it twice makes it once. What is
 * digested begins with a letter, and what {@link jobIdFor} digests with a digit: no account and key of any client lead
 * to such an id.
 */
export function derivedJobId(purpose: DerivedPurpose, jobId: string): string {
  return `job_${base32(createHash('sha256').update(`derived:${purpose}:${jobId}`).digest())}`;
}

/** A fresh id: 128 random bits in 26 characters, one subject token. */
export function newJobId(random: (bytes: number) => Uint8Array = randomBytes): string {
  return `job_${base32(random(17))}`;
}

/** Whether a text can be a job's id at all. What cannot be is not looked up. */
export const isJobId = (text: string): boolean => ID.test(text);

/** The first 130 bits, in RFC 4648's letters, lower case. */
function base32(bytes: Uint8Array): string {
  let text = '';
  for (let bit = 0; bit < 130; bit += 5) {
    const window = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    text += ALPHABET[(window >> (11 - (bit & 7))) & 31];
  }
  return text;
}
