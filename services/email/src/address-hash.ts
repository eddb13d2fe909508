import { createHash } from 'node:crypto';

/** Stands for an address or account where it would be a key: buckets can be listed, addresses must not be. */
export function hashOf(value: string): string {
  return createHash('sha256').update(value.toLowerCase()).digest('base64url').slice(0, 32);
}
