import zlib from 'node:zlib';
import { pick } from './random.ts';

type Random = () => number;

/** A damaged copy of a file, and what was done to it. */
export interface Mutant {
  readonly bytes: Buffer;
  readonly how: string;
}

/** Damages a file in one of many ways, chosen by the random numbers alone. */
export function mutate(file: Buffer, random: Random): Mutant {
  const kinds = [flipBits, overwrite, truncate, cut, repeat, append];
  if (file[0] === 0x89) kinds.push(playWithChunks, playWithChunks, playWithChunks, damagePixels, damagePixels);
  if (file[0] === 0xff) kinds.push(playWithSegments, playWithSegments);
  const kind = kinds[pick(random, kinds.length)] ?? flipBits;
  return { bytes: kind(Buffer.from(file), random), how: kind.name };
}

function flipBits(file: Buffer, random: Random): Buffer {
  for (let n = 1 + pick(random, 4); n > 0; n--) file[pick(random, file.length)]! ^= 1 << pick(random, 8);
  return file;
}

function overwrite(file: Buffer, random: Random): Buffer {
  const at = pick(random, file.length);
  for (let i = at; i < Math.min(file.length, at + 1 + pick(random, 16)); i++) file[i] = pick(random, 256);
  return file;
}

function truncate(file: Buffer, random: Random): Buffer {
  return file.subarray(0, pick(random, file.length));
}

function cut(file: Buffer, random: Random): Buffer {
  const at = pick(random, file.length);
  return Buffer.concat([file.subarray(0, at), file.subarray(at + 1 + pick(random, 64))]);
}

function repeat(file: Buffer, random: Random): Buffer {
  const at = pick(random, file.length);
  const end = at + 1 + pick(random, 64);
  return Buffer.concat([file.subarray(0, end), file.subarray(at)]);
}

function append(file: Buffer, random: Random): Buffer {
  return Buffer.concat([file, Buffer.from(Array.from({ length: 1 + pick(random, 64) }, () => pick(random, 256)))]);
}

interface Chunk {
  readonly type: string;
  readonly data: Buffer;
}

function chunksOf(png: Buffer): Chunk[] {
  const chunks: Chunk[] = [];
  for (let at = 8; at + 12 <= png.length;) {
    const length = png.readUInt32BE(at);
    chunks.push({
      type: png.toString('latin1', at + 4, at + 8),
      data: Buffer.from(png.subarray(at + 8, at + 8 + length)),
    });
    at += 12 + length;
  }
  return chunks;
}

function join(png: Buffer, chunks: readonly Chunk[]): Buffer {
  const parts = chunks.map(({ type, data }) => {
    const bytes = Buffer.alloc(12 + data.length);
    bytes.writeUInt32BE(data.length, 0);
    bytes.write(type, 4, 'latin1');
    data.copy(bytes, 8);
    bytes.writeUInt32BE(zlib.crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
    return bytes;
  });
  return Buffer.concat([png.subarray(0, 8), ...parts]);
}

/** Drops, doubles, moves, renames or rewrites a chunk; its checksum stays right. */
function playWithChunks(png: Buffer, random: Random): Buffer {
  const chunks = chunksOf(png);
  const at = pick(random, chunks.length);
  const chunk = chunks[at];
  if (!chunk) return png;
  switch (pick(random, 6)) {
    case 0:
      chunks.splice(at, 1);
      break;
    case 1:
      chunks.splice(pick(random, chunks.length), 0, chunk);
      break;
    case 2:
      chunks.splice(at, 1);
      chunks.splice(pick(random, chunks.length), 0, chunk);
      break;
    case 3:
      chunk.data.forEach((_, i) => {
        if (pick(random, chunk.data.length) < 2) chunk.data[i] = pick(random, 256);
      });
      break;
    case 4:
      chunks[at] = { type: chunk.type, data: chunk.data.subarray(0, pick(random, chunk.data.length + 1)) };
      break;
    default: {
      const types = ['IDAT', 'IEND', 'PLTE', 'tRNS', 'iCCP', 'pHYs', 'eXIf', 'gAMA', 'zTXt', 'ABCD', 'abcd', 'IHDR'];
      chunks[at] = { type: types[pick(random, types.length)] ?? 'IDAT', data: chunk.data };
    }
  }
  return join(png, chunks);
}

/** Damages the image data itself, inside a valid zlib stream or in the stream, under a right chunk checksum. */
function damagePixels(png: Buffer, random: Random): Buffer {
  const chunks = chunksOf(png);
  const first = chunks.findIndex(({ type }) => type === 'IDAT');
  const data = Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map((chunk) => chunk.data));
  if (first < 0) return png;
  const rest = chunks.filter(({ type }) => type !== 'IDAT');
  const choice = pick(random, 3);
  let damaged = data;
  if (choice === 0) damaged[pick(random, damaged.length)]! ^= 1 << pick(random, 8);
  else {
    const rows = zlib.inflateSync(data);
    if (choice === 1) rows[pick(random, rows.length)] = pick(random, 256);
    const size = choice === 2 ? rows.length + pick(random, 64) - 32 : rows.length;
    damaged = zlib.deflateSync(Buffer.concat([rows, Buffer.alloc(64)]).subarray(0, Math.max(0, size)));
  }
  rest.splice(first, 0, { type: 'IDAT', data: damaged });
  return join(png, rest);
}

/** Drops, doubles, moves or rewrites a segment of a JPEG's header. */
function playWithSegments(jpeg: Buffer, random: Random): Buffer {
  const segments: Buffer[] = [];
  let at = 2;
  while (at + 4 <= jpeg.length && jpeg[at] === 0xff && jpeg[at + 1] !== 0xda) {
    const end = at + 2 + jpeg.readUInt16BE(at + 2);
    segments.push(jpeg.subarray(at, end));
    at = end;
  }
  const index = pick(random, segments.length);
  const segment = segments[index];
  if (!segment) return jpeg;
  switch (pick(random, 4)) {
    case 0:
      segments.splice(index, 1);
      break;
    case 1:
      segments.splice(pick(random, segments.length), 0, segment);
      break;
    case 2:
      segments.splice(index, 1);
      segments.splice(pick(random, segments.length + 1), 0, segment);
      break;
    default:
      for (let n = 1 + pick(random, 3); n > 0; n--) segment[4 + pick(random, segment.length - 4)] = pick(random, 256);
  }
  return Buffer.concat([jpeg.subarray(0, 2), ...segments, jpeg.subarray(at)]);
}
