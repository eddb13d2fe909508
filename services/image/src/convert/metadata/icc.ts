import { promisify } from 'node:util';
import zlib from 'node:zlib';

/** A colour profile on its way into the PDF. */
export interface IccProfile {
  readonly components: 1 | 3 | 4;
  readonly data: Uint8Array;
  /** Of the ICC specification, its major number. */
  readonly version: number;
  /** Whether `data` is a zlib stream, as PNG has it. */
  readonly deflated: boolean;
}

const inflate = promisify(zlib.inflate);
// The largest profiles in use are some 2 MB; an iCCP chunk can promise any size.
const mostProfileBytes = 4 * 2 ** 20;
const componentsOf: Record<string, 1 | 3 | 4> = { GRAY: 1, 'RGB ': 3, CMYK: 4 };

// The classes that PDF takes (ISO 32000-1, 8.6.5.5): scanner, display, printer, colour space. A device link is none.
const classes = new Set(['scnr', 'mntr', 'prtr', 'spac']);

/** A profile that fits a picture of so many colour components; undefined for any other, or none at all. */
export function profileFor(data: Uint8Array, components: number, deflated?: Uint8Array): IccProfile | undefined {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.length < 132 || bytes.toString('latin1', 36, 40) !== 'acsp') return undefined;
  if (!classes.has(bytes.toString('latin1', 12, 16))) return undefined;
  const own = componentsOf[bytes.toString('latin1', 16, 20)];
  if (own !== components) return undefined;
  return { components: own, version: bytes[8] ?? 0, data: deflated ?? data, deflated: deflated !== undefined };
}

/** The profile of a PNG's iCCP chunk. Its zlib stream is what PDF wants, so it is checked and passed on as it is. */
export async function profileOfIccp(chunk: Buffer, components: number): Promise<IccProfile | undefined> {
  const nameEnd = chunk.indexOf(0);
  if (nameEnd < 1 || chunk[nameEnd + 1] !== 0) return undefined;
  const deflated = chunk.subarray(nameEnd + 2);
  try {
    return profileFor(await inflate(deflated, { maxOutputLength: mostProfileBytes }), components, deflated);
  } catch {
    // A profile that does not inflate is ignored, as decoders do: the pixels are fine without it.
    return undefined;
  }
}

// What a profile says of colours (ICC.1:2022, 9.2), and whose work it is. Not its name, its maker, the device and its
// serial number, the calibration of a screen, and what else programs put there.
const colourTags: ReadonlySet<string> = new Set(
  (
    'rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC wtpt bkpt chad gamt cicp cprt ' +
    'A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3'
  ).split(' '),
);
const headerBytes = 128;
const mostTags = 1_000;

/**
 * A profile that describes the same colours and nothing besides: what is left of it when metadata is to go. Samples can
 * stay as they are, in every gamut; converted to sRGB they would be clipped.
 *
 * @returns undefined for a profile whose table of tags is broken, which is as good as none.
 */
export async function coloursOf(profile: IccProfile): Promise<IccProfile | undefined> {
  const bytes = Buffer.from(profile.deflated ? await inflate(profile.data) : profile.data);
  const count = bytes.readUInt32BE(headerBytes);
  const tableEnd = headerBytes + 4 + 12 * count;
  if (count > mostTags || tableEnd > bytes.length) return undefined;
  const kept: { readonly name: string; readonly data: Buffer; readonly key: string }[] = [];
  for (let at = headerBytes + 4; at < tableEnd; at += 12) {
    const name = bytes.toString('latin1', at, at + 4);
    const [from, length] = [bytes.readUInt32BE(at + 4), bytes.readUInt32BE(at + 8)];
    if (from + length > bytes.length) return undefined;
    if (colourTags.has(name)) kept.push({ name, data: bytes.subarray(from, from + length), key: `${from} ${length}` });
  }
  kept.unshift({ name: 'desc', data: nameTag(profile), key: 'desc' });
  return { ...profile, data: writeProfile(bytes, kept), deflated: false };
}

function writeProfile(
  source: Buffer,
  tags: readonly { readonly name: string; readonly data: Buffer; readonly key: string }[],
): Buffer {
  const head = Buffer.alloc(headerBytes + 4 + 12 * tags.length);
  source.copy(head, 0, 0, headerBytes);
  // The program that wrote it, when and on what; the device; who made it; the hash of all that.
  for (const [from, to] of [
    [4, 8],
    [24, 36],
    [40, 44],
    [48, 56],
    [80, headerBytes],
  ] as const) {
    head.fill(0, from, to);
  }
  // 1 January 2000: a date has to be one.
  [2_000, 1, 1].forEach((part, i) => head.writeUInt16BE(part, 24 + 2 * i));
  head.writeUInt32BE(tags.length, headerBytes);
  const placed = new Map<string, number>();
  const parts: Buffer[] = [head];
  let end = head.length;
  tags.forEach(({ name, data, key }, i) => {
    // Curves of three colours are often one.
    const at = placed.get(key) ?? end;
    if (!placed.has(key)) {
      placed.set(key, at);
      parts.push(data, Buffer.alloc(-data.length & 3));
      end += data.length + (-data.length & 3);
    }
    const entry = headerBytes + 4 + 12 * i;
    head.write(name, entry, 'latin1');
    head.writeUInt32BE(at, entry + 4);
    head.writeUInt32BE(data.length, entry + 8);
  });
  head.writeUInt32BE(end, 0);
  return Buffer.concat(parts);
}

const nameOf = { 1: 'Gray', 3: 'RGB', 4: 'CMYK' } as const;

/** The name that every profile must have: of its version, the kind of its colours. */
function nameTag({ components, version }: IccProfile): Buffer {
  const name = nameOf[components];
  if (version >= 4) {
    const tag = Buffer.alloc(28 + 2 * name.length);
    tag.write('mluc', 0, 'latin1');
    [1, 12].forEach((each, i) => tag.writeUInt32BE(each, 8 + 4 * i));
    tag.write('enUS', 16, 'latin1');
    [2 * name.length, 28].forEach((each, i) => tag.writeUInt32BE(each, 20 + 4 * i));
    tag.write(name, 28, 'utf16le');
    tag.subarray(28).swap16();
    return tag;
  }
  const tag = Buffer.alloc(12 + name.length + 1 + 8 + 3 + 67);
  tag.write('desc', 0, 'latin1');
  tag.writeUInt32BE(name.length + 1, 8);
  tag.write(name, 12, 'latin1');
  return tag;
}
