import { createHmac, timingSafeEqual } from 'node:crypto';

const JOB_ID = /^job_([a-z2-7]{26})$/;
const TOKEN = /\bb-([a-z2-7]{26})-([a-z2-7]{16})\b/gi;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const MAC_CHARS = 16;

/**
 * The local part of the address that a job's mail is sent from on the wire, to which servers return it: variable
 * envelope return paths (VERP). It names the job and is signed, so that a report that comes there is about a mail of ours.
 * 45 of the 64 characters that RFC 5321 4.5.3.1.1 allows, and the same in upper case, which some servers make of it.
 *
 * @returns undefined for an id that is no job's.
 */
export function bounceToken(jobId: string, secret: string): string | undefined {
  const id = JOB_ID.exec(jobId)?.[1];
  return id === undefined ? undefined : `b-${id}-${mac(jobId, secret)}`;
}

/** The job of the first token in a text whose signature is ours; undefined when there is none. */
export function jobOfBounceToken(text: string, secret: string): string | undefined {
  for (const [, id = '', signed = ''] of text.matchAll(TOKEN)) {
    const jobId = `job_${id.toLowerCase()}`;
    const [given, expected] = [Buffer.from(signed.toLowerCase()), Buffer.from(mac(jobId, secret))];
    if (given.length === expected.length && timingSafeEqual(given, expected)) return jobId;
  }
  return undefined;
}

/** 80 bits in the letters of RFC 4648's base32, lower case. The word in front keeps it apart from unsubscribe tokens. */
function mac(jobId: string, secret: string): string {
  const digest = createHmac('sha256', secret).update(`bounce:${jobId}`).digest();
  return Array.from({ length: MAC_CHARS }, (_, at) => {
    const bit = at * 5;
    const window = ((digest[bit >> 3] ?? 0) << 8) | (digest[(bit >> 3) + 1] ?? 0);
    return ALPHABET[(window >> (11 - (bit & 7))) & 31];
  }).join('');
}
