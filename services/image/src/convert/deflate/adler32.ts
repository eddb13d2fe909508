const modulus = 65_521;
// The most bytes whose sums stay below 2^32 before the remainder is taken, as in zlib.
const run = 5552;

/** Continues an Adler-32 checksum, which begins with 1. Node exposes zlib's crc32, but not this one. */
export function adler32(bytes: Uint8Array, checksum = 1): number {
  let low = checksum & 0xffff;
  let high = checksum >>> 16;
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(at + run, bytes.length);
    // Eight bytes at a step: what the high sum gains from them is their weighted sum.
    for (; at + 8 <= end; at += 8) {
      const [a, b, c, d] = [
        bytes[at] as number,
        bytes[at + 1] as number,
        bytes[at + 2] as number,
        bytes[at + 3] as number,
      ];
      const [e, f, g, h] = [
        bytes[at + 4] as number,
        bytes[at + 5] as number,
        bytes[at + 6] as number,
        bytes[at + 7] as number,
      ];
      high += 8 * (low + a) + 7 * b + 6 * c + 5 * d + 4 * e + 3 * f + 2 * g + h;
      low += a + b + c + d + e + f + g + h;
    }
    for (; at < end; at++) {
      low += bytes[at] as number;
      high += low;
    }
    low %= modulus;
    high %= modulus;
  }
  return ((high << 16) | low) >>> 0;
}
