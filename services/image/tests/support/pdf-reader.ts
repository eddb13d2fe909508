import zlib from 'node:zlib';
import sharp, { type Sharp } from 'sharp';

/** A picture as a PDF draws it, unscaled and turned as its page says: 8-bit RGBA. */
export interface DrawnPicture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Buffer;
  readonly page: { readonly width: number; readonly height: number; readonly userUnit: number };
  /** As its dictionary names it, and of ICCBased the profile itself. */
  readonly colourSpace: string;
  readonly profile: Buffer | undefined;
  readonly bits: number;
}

interface PdfObject {
  readonly text: string;
  readonly stream: Buffer | undefined;
}

/**
 * Reads back the pictures of a PDF that the converter wrote, by its cross-reference table. It knows the few things
 * such a PDF contains and nothing else, and shares no code with the writer.
 */
export async function readPictures(pdf: Buffer): Promise<DrawnPicture[]> {
  const objects = readObjects(pdf);
  const get = (id: number): PdfObject => {
    const object = objects.get(id);
    if (!object) throw new Error(`no object ${id}`);
    return object;
  };
  const pictures: DrawnPicture[] = [];
  for (const page of objects.values()) {
    if (!/\/Type \/Page\b(?!s)/.test(page.text)) continue;
    const resources = get(reference(page.text, 'Resources'));
    const picture = get(Number(/\/I\d+ (\d+) 0 R/.exec(resources.text)?.[1]));
    const box = /\/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]/.exec(page.text);
    const profileId = Number(/\/ICCBased (\d+) 0 R/.exec(picture.text)?.[1] ?? 0);
    const profile = profileId > 0 ? get(profileId) : undefined;
    pictures.push({
      colourSpace: /\/ColorSpace (?:\[\s*)?\/(\w+)/.exec(picture.text)?.[1] ?? '',
      bits: Number(number(picture.text, 'BitsPerComponent')),
      profile:
        profile?.text.includes('/FlateDecode') && profile.stream ? zlib.inflateSync(profile.stream) : profile?.stream,
      ...(await turn(await drawPicture(picture, get), placement(get(reference(page.text, 'Contents'))))),
      page: { width: Number(box?.[1]), height: Number(box?.[2]), userUnit: Number(number(page.text, 'UserUnit') ?? 1) },
    });
  }
  return pictures;
}

type Matrix = readonly [number, number, number, number];

/** Which way the axes of the picture point on its page: the linear part of every matrix in the page's content. */
function placement(content: PdfObject): Matrix {
  let matrix: Matrix = [1, 0, 0, 1];
  for (const found of (content.stream?.toString('latin1') ?? '').matchAll(/([-\d.]+(?: [-\d.]+){5}) cm/g)) {
    const [a = 0, b = 0, c = 0, d = 0] = (found[1] ?? '').split(' ').map(Number);
    const [e, f, g, h] = matrix;
    matrix = [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
  }
  return matrix;
}

/** Turns stored pixels as EXIF's eight orientations would, told from the matrix alone. */
async function turn<P extends { width: number; height: number; rgba: Buffer }>(picture: P, matrix: Matrix): Promise<P> {
  const [a, b, c, d] = matrix.map((value) => Math.sign(Math.round(value * 1e3))) as [number, number, number, number];
  const { width, height, rgba } = picture;
  const image = sharp(rgba, { raw: { width, height, channels: 4 } });
  // Where the picture's right and top point on the page. sharp mirrors before it rotates.
  const steps: Record<string, (image: Sharp) => Sharp> = {
    '1,0,0,1': (image) => image,
    '-1,0,0,1': (image) => image.flop(),
    '-1,0,0,-1': (image) => image.rotate(180),
    '1,0,0,-1': (image) => image.flip(),
    '0,-1,-1,0': (image) => image.rotate(270).flop(),
    '0,-1,1,0': (image) => image.rotate(90),
    '0,1,1,0': (image) => image.rotate(90).flop(),
    '0,1,-1,0': (image) => image.rotate(270),
  };
  const step = steps[[a, b, c, d].join(',')];
  if (!step) throw new Error(`a picture that lies askew: ${matrix.join(' ')}`);
  const { data, info } = await step(image).raw().toBuffer({ resolveWithObject: true });
  return { ...picture, width: info.width, height: info.height, rgba: data };
}

function readObjects(pdf: Buffer): Map<number, PdfObject> {
  const text = pdf.toString('latin1');
  const start = Number(/startxref\s+(\d+)\s+%%EOF\s*$/.exec(text)?.[1]);
  const table = /^xref\s+0 (\d+)\s+/.exec(text.slice(start));
  if (!table) throw new Error('no cross-reference table');
  const entries = text.slice(start + table[0].length).split('\n');
  const objects = new Map<number, PdfObject>();
  for (let id = 1; id < Number(table[1]); id++) {
    const offset = Number(entries[id]?.slice(0, 10));
    const head = new RegExp(`^${id} 0 obj\\s`).exec(text.slice(offset, offset + 20));
    if (!head) throw new Error(`object ${id} is not where the table says`);
    const end = text.indexOf('endobj', offset);
    const streamAt = text.indexOf('\nstream\n', offset);
    if (streamAt < 0 || streamAt > end) {
      objects.set(id, { text: text.slice(offset + head[0].length, end), stream: undefined });
      continue;
    }
    const dictionary = text.slice(offset + head[0].length, streamAt);
    const stated = number(dictionary, 'Length');
    const lengthId = /\/Length (\d+) 0 R/.exec(dictionary)?.[1];
    const length = lengthId ? lengthOf(text, entries, Number(lengthId)) : Number(stated);
    const from = streamAt + '\nstream\n'.length;
    if (text.slice(from + length, from + length + 10) !== '\nendstream') throw new Error(`object ${id}: wrong length`);
    objects.set(id, { text: dictionary, stream: pdf.subarray(from, from + length) });
  }
  return objects;
}

function lengthOf(text: string, entries: readonly string[], id: number): number {
  const offset = Number(entries[id]?.slice(0, 10));
  return Number(/^\d+ 0 obj\s+(\d+)\s+endobj/.exec(text.slice(offset, offset + 60))?.[1]);
}

const number = (text: string, name: string): string | undefined =>
  new RegExp(`/${name} ([\\d.]+)(?! 0 R)`).exec(text)?.[1];
const reference = (text: string, name: string): number =>
  Number(new RegExp(`/${name} (\\d+) 0 R`).exec(text)?.[1] ?? 0);

async function drawPicture(
  picture: PdfObject,
  get: (id: number) => PdfObject,
): Promise<{ width: number; height: number; rgba: Buffer }> {
  const width = Number(number(picture.text, 'Width'));
  const height = Number(number(picture.text, 'Height'));
  const rgba = Buffer.alloc(width * height * 4, 255);
  if (picture.text.includes('/DCTDecode')) {
    const { data, info } = await sharp(picture.stream, { failOn: 'none' })
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    for (let i = 0; i < width * height; i++) {
      for (let k = 0; k < 3; k++) rgba[i * 4 + k] = data[i * info.channels + (info.channels < 3 ? 0 : k)] ?? 0;
    }
  } else drawSamples(picture, width, height, rgba, get);

  const maskId = reference(picture.text, 'SMask');
  const mask = maskId > 0 ? get(maskId) : undefined;
  if (mask?.stream) {
    const { samples, bits } = readSamples(mask, width, height, 1);
    for (let i = 0; i < width * height; i++) rgba[i * 4 + 3] = to8(samples[i] ?? 0, bits);
  }
  return { width, height, rgba };
}

function drawSamples(
  picture: PdfObject,
  width: number,
  height: number,
  rgba: Buffer,
  get: (id: number) => PdfObject,
): void {
  const palette = /\/ColorSpace \[\/Indexed .* (\d+) (\d+) 0 R\]/s.exec(picture.text);
  const colours = palette ? get(Number(palette[2])).stream : undefined;
  const isRgb = !palette && /\/ColorSpace (\/DeviceRGB|\[\/ICCBased)/.test(picture.text);
  const channels = Number(number(picture.text, 'Colors') ?? (isRgb ? 3 : 1));
  const { samples, bits } = readSamples(picture, width, height, channels);
  const key = /\/Mask \[([\d ]+)\]/.exec(picture.text)?.[1]?.split(' ').map(Number);
  for (let i = 0; i < width * height; i++) {
    let keyed = key !== undefined;
    for (let k = 0; k < channels; k++) {
      const sample = samples[i * channels + k] ?? 0;
      if (key) keyed &&= sample >= (key[k * 2] ?? 0) && sample <= (key[k * 2 + 1] ?? 0);
    }
    for (let k = 0; k < 3; k++) {
      if (channels === 4) {
        const [ink = 0, black = 0] = [samples[i * 4 + k], samples[i * 4 + 3]].map((value) => to8(value ?? 0, bits));
        rgba[i * 4 + k] = Math.round(((255 - ink) * (255 - black)) / 255);
        continue;
      }
      const sample = samples[i * channels + (channels === 1 ? 0 : k)] ?? 0;
      rgba[i * 4 + k] = colours ? (colours[Math.min(sample, colours.length / 3 - 1) * 3 + k] ?? 0) : to8(sample, bits);
    }
    if (keyed) rgba[i * 4 + 3] = 0;
  }
}

const to8 = (sample: number, bits: number): number =>
  bits === 16 ? sample >> 8 : Math.round((sample * 255) / ((1 << bits) - 1));

/** Undoes FlateDecode with a PNG predictor. */
function readSamples(
  { text, stream }: PdfObject,
  width: number,
  height: number,
  channels: number,
): { samples: Uint16Array; bits: number } {
  const bits = Number(number(text, 'BitsPerComponent'));
  const rowBytes = Math.ceil((width * channels * bits) / 8);
  const pixelBytes = Math.max(1, (channels * bits) / 8);
  const rows = zlib.inflateSync(stream ?? Buffer.alloc(0));
  if (!text.includes('/Predictor 15') || rows.length !== (rowBytes + 1) * height)
    throw new Error('not a whole picture');
  const samples = new Uint16Array(width * height * channels);
  let above: Uint8Array = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (rowBytes + 1)] ?? 0;
    const row = rows.subarray(y * (rowBytes + 1) + 1, (y + 1) * (rowBytes + 1));
    unfilter(filter, row, above, pixelBytes);
    for (let i = 0; i < width * channels; i++) {
      const at = (i * bits) >> 3;
      samples[y * width * channels + i] =
        bits === 16
          ? ((row[at] ?? 0) << 8) | (row[at + 1] ?? 0)
          : ((row[at] ?? 0) >> (8 - bits - ((i * bits) & 7))) & ((1 << bits) - 1);
    }
    above = row;
  }
  return { samples, bits };
}

function unfilter(filter: number, row: Uint8Array, above: Uint8Array, pixelBytes: number): void {
  if (filter > 4) throw new Error(`no filter ${filter}`);
  for (let i = 0; i < row.length; i++) {
    const a = i < pixelBytes ? 0 : (row[i - pixelBytes] ?? 0);
    const b = above[i] ?? 0;
    const c = i < pixelBytes ? 0 : (above[i - pixelBytes] ?? 0);
    const p = a + b - c;
    const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
    const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    row[i] = (row[i] ?? 0) + ([0, a, b, (a + b) >> 1, paeth][filter] ?? 0);
  }
}
