import { describe, expect, it } from 'vitest';
import { detectFileType } from './file-type.ts';

const detect = (text: string): ReturnType<typeof detectFileType> => detectFileType(Buffer.from(text, 'latin1'));

describe('an image is known by its first bytes', () => {
  it.each([
    ['png', '\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR'],
    ['jpeg', '\xff\xd8\xff\xe0'],
    ['webp', 'RIFF\x10\0\0\0WEBPVP8 '],
    ['gif', 'GIF87a'],
    ['gif', 'GIF89a'],
    ['tiff', 'II*\0'],
    ['tiff', 'MM\0*'],
    ['tiff', 'II+\0\x08\0\0\0'],
    ['tiff', 'MM\0+\0\x08\0\0'],
    ['avif', '\0\0\0\x18ftypavif\0\0\0\0mif1miaf'],
    ['avif', '\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf'],
    ['avif', '\0\0\0\x1cftypavis\0\0\0\0avismsf1iso8'],
    ['avif', '\0\0\0\x1cftypmsf1\0\0\0\0msf1avisiso8'],
  ])('%s: %j', (format, text) => {
    expect(detect(text)).toEqual({ kind: 'image', format });
  });

  it('even in a view of a larger memory', () => {
    const memory = Buffer.from('....GIF89a', 'latin1');
    expect(detectFileType(memory.subarray(4))).toEqual({ kind: 'image', format: 'gif' });
  });
});

describe('a PNG whose header a transfer has destroyed is damaged, not of another kind', () => {
  it.each([
    ['line ends changed', '\x89PNG\n\x1a\n\0\0\0\x0dIHDR'],
    ['without the eighth bit', '\tPNG\r\n\x1a\n\0\0\0\x0dIHDR'],
    ['a signature with nothing behind it', '\x89PNG\r\n\x1a\n<script>'],
  ])('%s', (_, text) => {
    expect(detect(text)).toMatchObject({ kind: 'damaged', message: expect.stringContaining('PNG') as string });
  });
});

describe('any other file is named, with what to do', () => {
  it.each([
    ['HEIC', '\0\0\0\x18ftypheic\0\0\0\0mif1heic', /HEIC.*JPEG/],
    ['a HEIC sequence', '\0\0\0\x18ftyphevc\0\0\0\0msf1hevc', /HEIC/],
    ['a video', '\0\0\0\x18ftypisom\0\0\x02\0isomiso2', /video/],
    ['PDF', '%PDF-1.7\n%\xe2\xe3\xcf\xd3', /PDF already/],
    ['SVG', '<svg xmlns="http://www.w3.org/2000/svg">', /SVG.*PNG/],
    ['SVG with a prolog', '<?xml version="1.0"?><!-- a drawing -->', /SVG/],
    ['HTML', '<!doctype html><script>alert(1)</script>', /HTML/],
    ['BMP', 'BM\x36\0\0\0\0\0\0\0', /BMP/],
    ['JPEG XL', '\xff\x0a\xfa\x7f', /JPEG XL/],
    ['JPEG 2000', '\0\0\0\x0cjP  \r\n\x87\n', /JPEG 2000/],
    ['Photoshop', '8BPS\0\x01', /Photoshop/],
    ['ZIP', 'PK\x03\x04', /ZIP/],
    ['text', 'photo.jpg', /text.*@/],
    ['nothing', '', /empty/],
    ['noise', '\x01\x02\x03\x04', /unknown/],
  ])('%s', (_, text, message) => {
    expect(detect(text)).toMatchObject({ kind: 'other', message: expect.stringMatching(message) as string });
  });
});
