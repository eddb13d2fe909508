import zlib from 'node:zlib';

/** A PNG to be written, byte by byte as the test wants it: an encoder that shares nothing with the code under test. */
export interface PngPlan {
  readonly width: number;
  readonly height: number;
  readonly colourType: 0 | 2 | 3 | 4 | 6;
  readonly bits: 1 | 2 | 4 | 8 | 16;
  /** One sample of one pixel, within the depth. */
  readonly sample: (x: number, y: number, channel: number) => number;
  readonly interlaced?: boolean;
  /** The filter of each row; by default all five in turn. */
  readonly filter?: (y: number) => number;
  readonly palette?: Buffer;
  readonly transparency?: Buffer;
  /** Pixels per inch, written as pHYs. */
  readonly density?: number;
  /** Chunks before PLTE, between it and IDAT, and behind IDAT. */
  readonly early?: readonly Buffer[];
  readonly middle?: readonly Buffer[];
  readonly late?: readonly Buffer[];
  /** IDAT is cut into chunks of so many bytes. */
  readonly idatBytes?: number;
  readonly level?: number;
}

const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
const channelsOf = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 } as const;

export function writePng(plan: PngPlan): Buffer {
  const { width, height, bits, colourType, idatBytes = 8192 } = plan;
  const data = zlib.deflateSync(pngRows(plan), { level: plan.level ?? 6 });
  const idat: Buffer[] = [];
  for (let at = 0; at < data.length; at += idatBytes) idat.push(chunk('IDAT', data.subarray(at, at + idatBytes)));
  return Buffer.concat([
    signature,
    header(width, height, bits, colourType, plan.interlaced ?? false),
    ...(plan.density === undefined ? [] : [physical(plan.density)]),
    ...(plan.early ?? []),
    ...(plan.palette ? [chunk('PLTE', plan.palette)] : []),
    ...(plan.transparency ? [chunk('tRNS', plan.transparency)] : []),
    ...(plan.middle ?? []),
    ...idat,
    ...(plan.late ?? []),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A PNG of the given header and image data, which need not agree. */
export function rawPng(
  width: number,
  height: number,
  bits: number,
  colourType: number,
  idat: Uint8Array,
  extra: readonly Buffer[] = [],
): Buffer {
  const parts = [signature, header(width, height, bits, colourType, false), ...extra];
  return Buffer.concat([...parts, chunk('IDAT', idat), chunk('IEND', Buffer.alloc(0))]);
}

export function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(zlib.crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

function header(width: number, height: number, bits: number, colourType: number, interlaced: boolean): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([bits, colourType, 0, 0, interlaced ? 1 : 0], 8);
  return chunk('IHDR', data);
}

function physical(density: number): Buffer {
  const data = Buffer.alloc(9);
  data.writeUInt32BE(Math.round(density / 0.0254), 0);
  data.writeUInt32BE(Math.round(density / 0.0254), 4);
  data[8] = 1;
  return chunk('pHYs', data);
}

const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** The filtered rows as they go into the zlib stream. */
export function pngRows(plan: PngPlan): Buffer {
  if (!plan.interlaced) return passRows(plan, 0, 0, 1, 1);
  return Buffer.concat(adam7.map(([x, y, dx, dy]) => passRows(plan, x, y, dx, dy)));
}

function passRows(plan: PngPlan, x0: number, y0: number, dx: number, dy: number): Buffer {
  const { width, height, bits, sample } = plan;
  const channels = channelsOf[plan.colourType];
  const columns = Math.max(0, Math.ceil((width - x0) / dx));
  const pixelBytes = Math.max(1, (channels * bits) / 8);
  const rows: Buffer[] = [];
  if (columns === 0) return Buffer.alloc(0);
  let above: Buffer = Buffer.alloc(Math.ceil((columns * channels * bits) / 8));
  for (let y = y0, row = 0; y < height; y += dy, row++) {
    const line = Buffer.alloc(above.length);
    for (let column = 0; column < columns; column++) {
      for (let channel = 0; channel < channels; channel++) {
        const index = column * channels + channel;
        const value = sample(x0 + column * dx, y, channel);
        if (bits === 16) line.writeUInt16BE(value, index * 2);
        else if (bits === 8) line[index] = value;
        else line[(index * bits) >> 3]! |= value << (8 - bits - ((index * bits) & 7));
      }
    }
    rows.push(filterRow(plan.filter?.(row) ?? row % 5, line, above, pixelBytes));
    above = line;
  }
  return Buffer.concat(rows);
}

function filterRow(filter: number, line: Buffer, above: Buffer, pixelBytes: number): Buffer {
  const out = Buffer.alloc(line.length + 1);
  out[0] = filter;
  for (let i = 0; i < line.length; i++) {
    const left = line[i - pixelBytes] ?? 0;
    const up = above[i] ?? 0;
    const corner = i < pixelBytes ? 0 : (above[i - pixelBytes] ?? 0);
    const near = [left, up, corner].sort((a, b) => Math.abs(left + up - corner - a) - Math.abs(left + up - corner - b));
    const prediction = [0, left, up, (left + up) >> 1, near[0] ?? 0][filter] ?? 0;
    out[i + 1] = (line[i] ?? 0) - prediction;
  }
  return out;
}
