import { hash } from 'node:crypto';

/** What jobs of an account can be searched by. `any` is every job of it, `webhook` every one with a callback. */
export type TermField = 'any' | 'state' | 'kind' | 'recipient' | 'error' | 'fileName' | 'metadata' | 'webhook';

/** Bytes of a term: enough that two of them are never the same by chance. */
export const TERM_BYTES = 12;
/** Terms that come again and again are digested once. */
const REMEMBERED = 10_000;
const remembered = new Map<string, Buffer>();

/**
 * A property of jobs as the index keeps it: the digest of an account, a field and a value. Of one size for
 * any value, and no addresses or texts of clients stand in the index.
 */
export function term(account: string, field: TermField, value: string): Buffer {
  const text = `${account.length}:${account}${field}:${value}`;
  const known = remembered.get(text);
  if (known !== undefined) return known;
  const digested = digest(text);
  if (field === 'any' || field === 'state' || field === 'kind' || field === 'error' || field === 'webhook') {
    if (remembered.size >= REMEMBERED) remembered.clear();
    remembered.set(text, digested);
  }
  return digested;
}

/** An address as it is looked up: addresses are compared, never shown, and of any account, so that a person can be erased. */
export const recipientDigest = (address: string): Buffer => digest(`recipient:${address.toLowerCase()}`);

const digest = (text: string): Buffer => hash('sha256', text, 'buffer').subarray(0, TERM_BYTES);

/** The terms of a job in one value, as they are kept with it: what was indexed can be taken out again. */
export const joinTerms = (terms: readonly Buffer[]): Buffer => Buffer.concat(terms);

export function splitTerms(joined: Uint8Array): Buffer[] {
  const terms: Buffer[] = [];
  for (let at = 0; at < joined.length; at += TERM_BYTES) terms.push(Buffer.from(joined.subarray(at, at + TERM_BYTES)));
  return terms;
}
