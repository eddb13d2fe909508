import { createHmac, timingSafeEqual } from 'node:crypto';

const JOB_ID = /^job_([a-z2-7]{26})$/;
const TOKEN = /\bb-([a-z2-7]{26})-([a-z2-7]{16})(?:-(\d{1,2}))?\b/gi;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const MAC_CHARS = 16;

/**
 * The local part of the address that a job's mail is sent from on the wire, to which servers return it: variable
 * envelope return paths (VERP). It names the job and the recipient and is signed, so that a report that comes there is
 * about a mail of ours. 48 of the 64 characters that RFC 5321 4.5.3.1.1 allows, and the same in upper case, which some
 * servers make of it.
 *
 * @param copy 0 for the mail itself, 1 for the first copy of `mailCopies`.
 * @returns undefined for an id that is no job's.
 */
export function bounceToken(jobId: string, secret: string, copy = 0): string | undefined {
  const id = JOB_ID.exec(jobId)?.[1];
  return id === undefined ? undefined : `b-${id}-${mac(jobId, secret, copy)}${copy === 0 ? '' : `-${copy}`}`;
}

/** The job and copy of the first token in a text whose signature is ours; undefined when there is none. */
export function readBounceToken(
  text: string,
  secret: string,
): { readonly jobId: string; readonly copy: number } | undefined {
  for (const [, id = '', signed = '', number = '0'] of text.matchAll(TOKEN)) {
    const jobId = `job_${id.toLowerCase()}`;
    const copy = Number(number);
    const [given, expected] = [Buffer.from(signed.toLowerCase()), Buffer.from(mac(jobId, secret, copy))];
    if (given.length === expected.length && timingSafeEqual(given, expected)) return { jobId, copy };
  }
  return undefined;
}

/** 80 bits in the letters of RFC 4648's base32, lower case. The word in front keeps it apart from unsubscribe tokens. */
function mac(jobId: string, secret: string, copy: number): string {
  const signed = copy === 0 ? `bounce:${jobId}` : `bounce:${jobId}:${copy}`;
  const digest = createHmac('sha256', secret).update(signed).digest();
  return Array.from({ length: MAC_CHARS }, (_, at) => {
    const bit = at * 5;
    const window = ((digest[bit >> 3] ?? 0) << 8) | (digest[(bit >> 3) + 1] ?? 0);
    return ALPHABET[(window >> (11 - (bit & 7))) & 31];
  }).join('');
}
