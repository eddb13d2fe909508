import { createHash } from 'node:crypto';

/** Stands for an address or account where it would be a key: buckets can be listed, addresses must not be. */
export function hashAddress(value: string): string {
  return createHash('sha256').update(value.toLowerCase()).digest('base64url').slice(0, HASH_CHARS);
}

const HASH_CHARS = 32;

/** Whether a text is a hash made here. */
export const isAddressHash = (text: string): boolean => text.length === HASH_CHARS && /^[\w-]+$/.test(text);
