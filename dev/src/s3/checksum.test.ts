import { describe, expect, it } from 'vitest';
import { checksumDigest, type ChecksumAlgorithm } from './checksum.ts';

// The check values of the CRC catalogues: of the nine bytes "123456789".
const KNOWN: readonly [ChecksumAlgorithm, string][] = [
  ['crc32', 'cbf43926'],
  ['crc32c', 'e3069283'],
  ['crc64nvme', 'ae8b14860a799888'],
  ['sha1', 'f7c3bc1d808e04732adf679965ccc34ca7ae3441'],
  ['sha256', '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225'],
];

describe('checksums', () => {
  it.each(KNOWN)('%s has its known value, in one piece and in many', (algorithm, hex) => {
    const whole = checksumDigest(algorithm);
    whole.update(Buffer.from('123456789'));
    const pieces = checksumDigest(algorithm);
    for (const digit of '123456789') pieces.update(Buffer.from(digit));
    const expected = Buffer.from(hex, 'hex').toString('base64');
    expect([whole.base64(), pieces.base64()]).toEqual([expected, expected]);
  });
});
