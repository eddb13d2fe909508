import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** The checksums the AWS SDKs can send with an upload. */
export const CHECKSUM_ALGORITHMS = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

/** A checksum as it is stored and sent: base64 of the big-endian value. */
export interface Checksum {
  algorithm: ChecksumAlgorithm;
  value: string;
}

/** A running checksum over a stream. */
export interface ChecksumDigest {
  update(chunk: Buffer): void;
  base64(): string;
}

function bigEndian(...words: number[]): string {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => bytes.writeUInt32BE(word >>> 0, i * 4));
  return bytes.toString('base64');
}

// CRC-32C (Castagnoli), reflected polynomial.
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (0x82f63b78 ^ (crc >>> 1)) >>> 0 : crc >>> 1;
  return crc >>> 0;
});

function crc32cDigest(): ChecksumDigest {
  let crc = 0xffffffff;
  return {
    update(chunk) {
      for (const byte of chunk) crc = ((CRC32C_TABLE[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8)) >>> 0;
    },
    base64: () => bigEndian(crc ^ 0xffffffff),
  };
}

// CRC-64/NVME, reflected polynomial 0x9a6c9329ac4bc9b5, kept as two 32-bit halves: BigInt is 30 times slower per byte.
const CRC64_HIGH = new Uint32Array(256);
const CRC64_LOW = new Uint32Array(256);
for (let n = 0; n < 256; n++) {
  let high = 0;
  let low = n;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high >>>= 1;
    if (carry) {
      high = (high ^ 0x9a6c9329) >>> 0;
      low = (low ^ 0xac4bc9b5) >>> 0;
    }
  }
  CRC64_HIGH[n] = high;
  CRC64_LOW[n] = low;
}

function crc64nvmeDigest(): ChecksumDigest {
  let high = 0xffffffff;
  let low = 0xffffffff;
  return {
    update(chunk) {
      for (const byte of chunk) {
        const index = (low ^ byte) & 255;
        low = (((low >>> 8) | (high << 24)) ^ (CRC64_LOW[index] ?? 0)) >>> 0;
        high = ((high >>> 8) ^ (CRC64_HIGH[index] ?? 0)) >>> 0;
      }
    },
    base64: () => bigEndian(high ^ 0xffffffff, low ^ 0xffffffff),
  };
}

function crc32Digest(): ChecksumDigest {
  let crc = 0;
  return { update: (chunk) => void (crc = crc32(chunk, crc)), base64: () => bigEndian(crc) };
}

function hashDigest(algorithm: 'sha1' | 'sha256'): ChecksumDigest {
  const hash = createHash(algorithm);
  return { update: (chunk) => void hash.update(chunk), base64: () => hash.digest('base64') };
}

const DIGESTS: Readonly<Record<ChecksumAlgorithm, () => ChecksumDigest>> = {
  crc32: crc32Digest,
  crc32c: crc32cDigest,
  crc64nvme: crc64nvmeDigest,
  sha1: () => hashDigest('sha1'),
  sha256: () => hashDigest('sha256'),
};

/** Starts a checksum of this algorithm. */
export function checksumDigest(algorithm: ChecksumAlgorithm): ChecksumDigest {
  return DIGESTS[algorithm]();
}

/** The answer headers that tell a stored checksum. */
export function checksumHeaders(checksum: Checksum | undefined): Record<string, string> {
  if (!checksum) return {};
  return { [`x-amz-checksum-${checksum.algorithm}`]: checksum.value, 'x-amz-checksum-type': 'FULL_OBJECT' };
}
