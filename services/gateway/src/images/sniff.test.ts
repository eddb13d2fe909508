import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { dimensions, sniff } from './sniff.ts';

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
const avif = (() => {
  const ftyp = Buffer.from('\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf', 'latin1');
  const ispe = Buffer.from('\0\0\0\x14ispe\0\0\0\0\0\0\x03\x20\0\0\x02\x58', 'latin1');
  return Buffer.concat([ftyp, ispe]);
})();

describe('an upload is judged by its bytes', () => {
  test.each([
    ['image/png', png(800, 600)],
    ['image/jpeg', jpeg(800, 600, 60_000)],
    ['image/gif', gif],
    ['image/webp', webp],
    ['image/tiff', tiff],
    ['image/avif', avif],
  ] as const)('%s: its kind and its size', (type, bytes) => {
    expect(sniff(bytes)).toBe(type);
    expect(dimensions(type, bytes)).toEqual({ width: 800, height: 600 });
  });

  test.each([
    ['text', 'just some words that are no picture at all, whatever the name says'],
    ['an SVG', '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'],
    ['HTML', '<!doctype html><script>alert(1)</script>'],
    ['a PDF', '%PDF-1.7\n%âãÏÓ'],
    ['a ZIP', 'PK\x03\x04'],
    ['a PNG signature with nothing behind it', '\x89PNG\r\n\x1a\n<script>'],
    ['a video in the container of AVIF', '\0\0\0\x18ftypisom\0\0\x02\0isomiso2'],
    ['nothing', ''],
  ])('%s is not a picture', (_, text) => {
    expect(sniff(Buffer.from(text, 'latin1'))).toBeUndefined();
  });

  test('a header that goes on past what was read has no size yet', () => {
    expect(dimensions('image/jpeg', jpeg(800, 600, 60_000).subarray(0, 1_000))).toBeUndefined();
    expect(dimensions('image/png', png(1, 1).subarray(0, 18))).toBeUndefined();
  });
});
