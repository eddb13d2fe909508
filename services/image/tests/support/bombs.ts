import zlib from 'node:zlib';
import sharp from 'sharp';
import { chunk, rawPng, writePng } from './png-writer.ts';

/** A small file that would unfold into something large. */
export interface Bomb {
  readonly name: string;
  readonly bytes: Buffer;
  /** How its conversion must end: with a code, or well, when what is large is nothing that a PDF needs. */
  readonly ends: 'image_too_large' | 'corrupt_image' | 'converted';
}

/** A whole zlib stream of so many zero bytes, made of one block again and again: a thousandth of them. */
function zeros(bytes: number): Buffer {
  const blockBytes = 1 << 20;
  const block = zlib.deflateRawSync(Buffer.alloc(blockBytes), { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  const blocks = Array.from({ length: Math.floor(bytes / blockBytes) }, () => block);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt16BE(bytes % 65_521);
  checksum.writeUInt16BE(1, 2);
  const rest = zlib.deflateRawSync(Buffer.alloc(bytes % blockBytes));
  return Buffer.concat([Buffer.from([0x78, 0x9c]), ...blocks, rest, checksum]);
}

function withChunks(chunks: readonly Buffer[]): Buffer {
  return rawPng(40, 30, 8, 2, zeros(30 * 121), chunks);
}

const withChunk = (type: string, data: Buffer): Buffer => withChunks([chunk(type, data)]);

const plain = { width: 40, height: 30, colourType: 2, bits: 8, sample: () => 7 } as const;

const profile = (bytes: number): Buffer => Buffer.concat([Buffer.from('p\0\0'), zeros(bytes)]);

const languageText = (bytes: number): Buffer =>
  Buffer.concat([Buffer.from('p\0\x01\0en\0word\0', 'latin1'), zeros(bytes)]);

async function lyingJpeg(width: number, height: number): Promise<Buffer> {
  const file = await sharp({ create: { width: 40, height: 30, channels: 3, background: '#456' } })
    .jpeg()
    .toBuffer();
  const frame = file.indexOf(Buffer.from([0xff, 0xc0]));
  file.writeUInt16BE(height, frame + 5);
  file.writeUInt16BE(width, frame + 7);
  return file;
}

function gif(side: number): Buffer {
  const sides = Buffer.alloc(4);
  sides.writeUInt16LE(side);
  sides.writeUInt16LE(side, 2);
  const picture = Buffer.from([0x2c, 0, 0, 0, 0, ...sides, 0, 2, 2, 0x44, 1, 0, 0x3b]);
  return Buffer.concat([Buffer.from('GIF89a'), sides, Buffer.from([0x80, 0, 0, 0, 0, 0, 255, 255, 255]), picture]);
}

/** Pictures that are too large, pixels beyond the picture, headers that lie, and chunks full of nothing. */
export const bombs: readonly Bomb[] = [
  { name: '100,000 x 100,000 at 1 bit', bytes: rawPng(100_000, 100_000, 1, 0, zeros(1.25e9)), ends: 'image_too_large' },
  { name: '30,000 x 30,000 RGB', bytes: rawPng(30_000, 30_000, 8, 2, zeros(2.7e9)), ends: 'image_too_large' },
  {
    name: 'the largest PNG there can be',
    bytes: rawPng(0x7fffffff, 0x7fffffff, 16, 6, zeros(1e6)),
    ends: 'image_too_large',
  },
  {
    name: 'one row of 50 million RGBA pixels',
    bytes: rawPng(50_000_000, 1, 8, 6, zeros(1e6)),
    ends: 'image_too_large',
  },
  { name: '10 x 10 with 2.7 GB of pixels', bytes: rawPng(10, 10, 8, 2, zeros(2.7e9)), ends: 'corrupt_image' },
  { name: '10 x 10 RGBA with 2.7 GB of pixels', bytes: rawPng(10, 10, 8, 6, zeros(2.7e9)), ends: 'corrupt_image' },
  { name: '60,000 x 60,000 JPEG that is a lie', bytes: await lyingJpeg(60_000, 60_000), ends: 'image_too_large' },
  { name: '60,000 x 60,000 GIF', bytes: gif(60_000), ends: 'image_too_large' },
  { name: 'profile of 640 MB in 640 kB', bytes: withChunk('iCCP', profile(640e6)), ends: 'image_too_large' },
  { name: 'text of 640 MB in 640 kB', bytes: withChunk('zTXt', profile(640e6)), ends: 'image_too_large' },
  { name: 'text of 640 MB in a language', bytes: withChunk('iTXt', languageText(640e6)), ends: 'image_too_large' },
  {
    name: 'text of 640 MB, a little in each of many chunks',
    bytes: withChunks(Array.from({ length: 160 }, () => chunk('zTXt', profile(4e6)))),
    ends: 'image_too_large',
  },
  {
    name: 'text of 640 MB behind the pixels',
    bytes: writePng({ ...plain, late: [chunk('zTXt', profile(640e6))] }),
    ends: 'image_too_large',
  },
  {
    name: 'text of 640 MB in an interlaced picture',
    bytes: writePng({ ...plain, interlaced: true, early: [chunk('zTXt', profile(640e6))] }),
    ends: 'image_too_large',
  },
  {
    name: '100 MB of text',
    bytes: withChunks(Array.from({ length: 50 }, () => chunk('tEXt', Buffer.alloc(2e6, 97)))),
    ends: 'image_too_large',
  },
  {
    name: 'an unknown chunk of 100 MB',
    bytes: withChunk('huGe', Buffer.alloc(100e6)),
    ends: 'image_too_large',
  },
  { name: '20 MB of text', bytes: withChunk('tEXt', Buffer.alloc(20e6, 97)), ends: 'converted' },
  { name: 'text of 40 MB in 40 kB', bytes: withChunk('zTXt', profile(40e6)), ends: 'converted' },
];
