import { deflateSync } from 'node:zlib';
import { detectFileType, imageMediaTypes } from '@sluice/contracts';
import { describe, expect, test } from 'vitest';
import { dimensions } from './dimensions.ts';

/** The beginning of a PNG of a given size. */
const png = (width: number, height: number): Buffer => {
  const head = Buffer.alloc(33);
  head.write('\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR', 'latin1');
  head.writeUInt32BE(width, 16);
  head.writeUInt32BE(height, 20);
  return Buffer.concat([head, deflateSync(Buffer.alloc(100))]);
};
const jpeg = (width: number, height: number, exifBytes: number): Buffer => {
  const exif = Buffer.alloc(4 + exifBytes);
  exif.writeUInt16BE(0xffe1, 0);
  exif.writeUInt16BE(2 + exifBytes, 2);
  const frame = Buffer.from([0xff, 0xc2, 0, 17, 8, height >> 8, height & 255, width >> 8, width & 255, 3]);
  return Buffer.concat([Buffer.from([0xff, 0xd8]), exif, frame]);
};
const gif = Buffer.from('GIF89a\x20\x03\x58\x02\xf7\0\0', 'latin1');
const webp = Buffer.concat([
  Buffer.from('RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0', 'latin1'),
  Buffer.from([0x1f, 3, 0, 0x57, 2, 0]),
]);
const tiff = (() => {
  const bytes = Buffer.alloc(8 + 2 + 24 + 4);
  bytes.write('II*\0', 'latin1');
  bytes.writeUInt32LE(8, 4);
  bytes.writeUInt16LE(2, 8);
  [
    [256, 3, 1, 800],
    [257, 4, 1, 600],
  ].forEach(([tag, type, count, value], i) => {
    bytes.writeUInt16LE(tag!, 10 + i * 12);
    bytes.writeUInt16LE(type!, 12 + i * 12);
    bytes.writeUInt32LE(count!, 14 + i * 12);
    bytes.writeUInt32LE(value!, 18 + i * 12);
  });
  return bytes;
})();
const bigTiff = (() => {
  const bytes = Buffer.alloc(16 + 8 + 40 + 8);
  bytes.write('MM\0+\0\x08\0\0', 'latin1');
  bytes.writeBigUInt64BE(16n, 8);
  bytes.writeBigUInt64BE(2n, 16);
  [
    [256, 3, 800],
    [257, 16, 600],
  ].forEach(([tag, type, value], i) => {
    const at = 24 + i * 20;
    bytes.writeUInt16BE(tag!, at);
    bytes.writeUInt16BE(type!, at + 2);
    bytes.writeBigUInt64BE(1n, at + 4);
    if (type === 3) bytes.writeUInt16BE(value!, at + 12);
    else bytes.writeBigUInt64BE(BigInt(value!), at + 12);
  });
  return bytes;
})();
const avif = (() => {
  const ftyp = Buffer.from('\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf', 'latin1');
  const ispe = Buffer.from('\0\0\0\x14ispe\0\0\0\0\0\0\x03\x20\0\0\x02\x58', 'latin1');
  return Buffer.concat([ftyp, ispe]);
})();

describe('the size of an image, read from its header', () => {
  test.each([
    ['image/png', png(800, 600)],
    ['image/jpeg', jpeg(800, 600, 60_000)],
    ['image/gif', gif],
    ['image/webp', webp],
    ['image/tiff', tiff],
    ['image/tiff', bigTiff],
    ['image/avif', avif],
  ] as const)('%s', (type, bytes) => {
    const found = detectFileType(bytes);
    expect(found.kind === 'image' && imageMediaTypes[found.format]).toBe(type);
    expect(dimensions(type, bytes)).toEqual({ width: 800, height: 600 });
  });

  test('a header that goes on past what was read has no size yet', () => {
    expect(dimensions('image/jpeg', jpeg(800, 600, 60_000).subarray(0, 1_000))).toBeUndefined();
    expect(dimensions('image/png', png(1, 1).subarray(0, 18))).toBeUndefined();
  });
});
