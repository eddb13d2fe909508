import { randomBytes } from 'node:crypto';
import zlib from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { adler32 } from './adler32.ts';
import { BandDeflater, tuning } from './band-deflater.ts';

async function deflated(bands: readonly Buffer[], kind: keyof typeof tuning, atOnce: number): Promise<Buffer> {
  const out: Buffer[] = [];
  const deflater = new BandDeflater(tuning[kind], atOnce, (bytes) => {
    out.push(Buffer.from(bytes));
    return Promise.resolve();
  });
  for (const band of bands) await deflater.add(band);
  await deflater.end();
  return Buffer.concat(out);
}

describe('bands deflated side by side', () => {
  const bands = [
    Buffer.alloc(100_000, 'abcd'),
    randomBytes(70_000),
    Buffer.from('x'),
    Buffer.alloc(0),
    Buffer.alloc(300_000, 'abcd'),
  ];

  it.each(['grain', 'noise', 'repeats'] as const)('are one valid zlib stream of all of them (%s)', async (kind) => {
    expect(zlib.inflateSync(await deflated(bands, kind, 3)).equals(Buffer.concat(bands))).toBe(true);
  });

  it('give the same bytes, however many run at once', async () => {
    const [one, four] = [await deflated(bands, 'repeats', 1), await deflated(bands, 'repeats', 4)];
    expect(one.equals(four)).toBe(true);
  });

  it('find what repeats across their borders', async () => {
    const band = randomBytes(20_000);
    expect((await deflated([band, band, band], 'repeats', 2)).length).toBeLessThan(22_000);
  });

  it('of nothing are an empty stream', async () => {
    expect(zlib.inflateSync(await deflated([], 'noise', 2)).length).toBe(0);
  });
});

it('the checksum is the one that zlib writes', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('Wikipedia'),
    randomBytes(5551),
    randomBytes(5553),
    Buffer.alloc(400_003, 255),
  ]) {
    const end = zlib.deflateSync(bytes).readUInt32BE(zlib.deflateSync(bytes).length - 4);
    expect(adler32(bytes)).toBe(end);
    expect(adler32(bytes.subarray(10), adler32(bytes.subarray(0, 10)))).toBe(end);
  }
});
