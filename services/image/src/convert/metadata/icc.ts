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
