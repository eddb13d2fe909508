const modulus = 65_521;
// The most bytes whose sums stay below 2^32 before the remainder is taken, as in zlib.
const run = 5552;

/** Continues an Adler-32 checksum, which begins with 1. Node exposes zlib's crc32, but not this one. */
export function adler32(bytes: Uint8Array, checksum = 1): number {
  let low = checksum & 0xffff;
  let high = checksum >>> 16;
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(at + run, bytes.length);
    for (; at < end; at++) {
      low += bytes[at] as number;
      high += low;
    }
    low %= modulus;
    high %= modulus;
  }
  return ((high << 16) | low) >>> 0;
}
