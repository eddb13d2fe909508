import { CorruptImageError } from '../errors.ts';
import { readExif } from '../metadata/exif.ts';
import { profileFor, type IccProfile } from '../metadata/icc.ts';
import { jfifDensity, preferredDensity, type StatedDensity } from '../metadata/density.ts';
import type { Orientation } from '../page-layout.ts';
import type { ByteReader } from '../byte-reader.ts';
import { JpegTables, readFrame, type JpegFrame } from './jpeg-tables.ts';
import { readMarker } from './read-marker.ts';
import { wholeScanHeader } from './scan-header.ts';
import { standardHuffmanTables } from './standard-huffman-tables.ts';

/** Everything of a JPEG before its first scan: what it means, and what of it is worth copying. */
export interface JpegHeader {
  readonly frame: JpegFrame;
  readonly density?: StatedDensity;
  readonly orientation: Orientation;
  readonly profile?: IccProfile;
  /** Adobe's marker was there: four-component samples count down. */
  readonly adobe: boolean;
  /** Coded with Huffman tables, in sequence or progressively: what PDF's DCTDecode takes. */
  readonly huffman: boolean;
  /** It has no Huffman tables and was given the standard ones: only a decoder can tell whether they are the right ones. */
  readonly tablesAssumed: boolean;
  /** Why it can be neither copied nor decoded, where that is so. */
  readonly notDecoded?: string;
  /** The tables so far: scans to come may use them and add to them. */
  readonly tables: JpegTables;
  /** The segments to copy, from SOI up to and with the first SOS. */
  readonly segments: readonly Buffer[];
}

export const marker = {
  soi: 0xd8,
  eoi: 0xd9,
  sos: 0xda,
  dqt: 0xdb,
  dri: 0xdd,
  dht: 0xc4,
  jpg: 0xc8,
  dac: 0xcc,
  app0: 0xe0,
  app1: 0xe1,
  app2: 0xe2,
  app14: 0xee,
  dnl: 0xdc,
  com: 0xfe,
} as const;

/** Adobe's marker, which says that no colour transform was made. */
const adobeRgb = segmentBytes(marker.app14, Buffer.from('\0\x0eAdobe\0\x64\0\0\0\0\0', 'latin1'));

// ICC alone may take 255 segments of 64 KiB; a header beyond this is no picture.
const mostHeaderBytes = 24 * 2 ** 20;

/** Whether a marker begins a frame: SOF0 to SOF15, less the three that only look like it. */
export function isFrame(code: number): boolean {
  return code >= 0xc0 && code <= 0xcf && code !== marker.dht && code !== marker.jpg && code !== marker.dac;
}

/**
 * Reads a JPEG up to its first scan. EXIF, XMP, comments, thumbnails and everything else that is not needed to draw
 * the picture is left behind; the colour profile goes into the PDF on its own.
 *
 * @throws {CorruptImageError} when a segment contradicts itself or the file ends
 */
export async function readJpegHeader(reader: ByteReader): Promise<JpegHeader> {
  const soi = await reader.read(2);
  const collected = new HeaderCollector(soi);
  while (reader.receivedBytes <= mostHeaderBytes) {
    const code = await readMarker(reader);
    if (code === marker.soi || code === marker.eoi || (code >= 0xd0 && code <= 0xd7)) {
      throw new CorruptImageError('JPEG: unexpected marker before the picture');
    }
    const length = (await reader.peek(2)).length === 2 ? (await reader.peek(2)).readUInt16BE(0) : 0;
    if (length < 2) throw new CorruptImageError('JPEG: broken segment');
    const segment = await reader.read(length);
    collected.add(code, Buffer.from(segment));
    if (code === marker.sos) return collected.header();
  }
  throw new CorruptImageError('JPEG: no picture behind its header');
}

// Baseline, extended and progressive: what DCTDecode has.
function isHuffman(frameCode: number): boolean {
  return frameCode >= 0xc0 && frameCode <= 0xc2;
}

/** A form of JPEG that the standard has and no decoder here. */
function whyNotDecoded(frameCode: number, frame: JpegFrame): string | undefined {
  const form =
    frame.bits !== 8
      ? `${frame.bits} bits per sample`
      : frame.components.length === 2
        ? 'two components'
        : frame.height === 0
          ? 'its height behind its first scan'
          : hierarchical.has(frameCode)
            ? 'hierarchical coding'
            : undefined;
  return form && `JPEG with ${form} is not decoded: save it as 8-bit baseline or progressive JPEG`;
}
const hierarchical = new Set([0xc5, 0xc6, 0xc7, 0xcd, 0xce, 0xcf]);

// APP0 to APP15, comments, and a number of lines for pictures that do not state it. Decoders know no others.
function isLeftBehind(code: number): boolean {
  return (code >= 0xe0 && code <= 0xef) || code === marker.com || code === marker.dnl;
}

/** Wraps a segment, which begins with its own length, in its marker. */
export function segmentBytes(code: number, segment: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xff, code]), segment]);
}

class HeaderCollector {
  readonly #segments: Buffer[];
  readonly #profileParts: Buffer[] = [];
  #frame: JpegFrame | undefined;
  #frameCode = 0;
  #hasJfif = false;
  #jfif: StatedDensity | undefined;
  #exif: { orientation: Orientation; density?: StatedDensity } | undefined;
  #adobe = false;
  #tablesAssumed = false;
  readonly #tables = new JpegTables();

  constructor(soi: Buffer) {
    this.#segments = [Buffer.from(soi)];
  }

  add(code: number, segment: Buffer): void {
    const data = segment.subarray(2);
    if (isFrame(code)) {
      if (this.#frame) throw new CorruptImageError('JPEG: two frames');
      this.#frame = readFrame(code, data);
      this.#frameCode = code;
      this.#keep(code, segment);
    } else if (code === marker.dht) {
      this.#tables.addHuffman(data);
      this.#keep(code, segment);
    } else if (code === marker.dqt) {
      this.#tables.addQuantisation(data);
      this.#keep(code, segment);
    } else if (code === marker.dri) {
      this.#tables.setRestartInterval(data);
      this.#keep(code, segment);
    } else if (code === marker.sos) {
      if (!this.#frame) throw new CorruptImageError('JPEG: a scan without a frame');
      if (!isHuffman(this.#frameCode)) return this.#keep(code, segment);
      if (!this.#tables.hasHuffman && !this.#frame.progressive) this.#addStandardTables();
      const scan = wholeScanHeader(data, this.#frame);
      this.#tables.checkScan(scan, this.#frame);
      this.#keep(code, Buffer.concat([segment.subarray(0, 2), scan]));
    } else if (code === marker.dac) {
      this.#keep(code, segment);
    } else if (isLeftBehind(code)) {
      this.#readApplicationData(code, data);
    } else {
      throw new CorruptImageError('JPEG: unknown marker');
    }
  }

  // Motion JPEG has no tables of its own: its frames, which webcams send as they are, mean the standard ones.
  #addStandardTables(): void {
    this.#tablesAssumed = true;
    this.#tables.addHuffman(standardHuffmanTables.subarray(2));
    this.#keep(marker.dht, standardHuffmanTables);
  }

  #keep(code: number, segment: Buffer): void {
    this.#segments.push(segmentBytes(code, segment));
  }

  #readApplicationData(code: number, data: Buffer): void {
    const begins = (text: string): boolean => data.toString('latin1', 0, text.length) === text;
    if (code === marker.app0 && begins('JFIF\0') && data.length >= 12 && !this.#hasJfif) {
      this.#hasJfif = true;
      this.#jfif = jfifDensity(data[7] as number, data.readUInt16BE(8), data.readUInt16BE(10));
      // Its first fourteen bytes only: a thumbnail may follow.
      const bare = Buffer.from([0, 16, ...data.subarray(0, 12), 0, 0]);
      this.#keep(code, bare);
    } else if (code === marker.app1 && begins('Exif\0\0') && !this.#exif) {
      this.#exif = readExif(data.subarray(6));
    } else if (code === marker.app2 && begins('ICC_PROFILE\0') && data.length > 14) {
      const [number = 0] = data.subarray(12, 13);
      if (number > 0) this.#profileParts[number - 1] = data.subarray(14);
    } else if (code === marker.app14 && begins('Adobe') && data.length >= 12) {
      this.#adobe = true;
      this.#keep(code, Buffer.from([0, 14, ...data.subarray(0, 12)]));
    }
  }

  // Without a word on colour, decoders take components called R, G and B for that. PDF knows nothing of names: it takes
  // three components for YCbCr, and is told.
  #colourIsNamed({ components }: JpegFrame): boolean {
    return this.#hasJfif || this.#adobe || String.fromCharCode(...components.map(({ id }) => id)) !== 'RGB';
  }

  header(): JpegHeader {
    const frame = this.#frame;
    if (!frame) throw new CorruptImageError('JPEG: a scan without a frame');
    const parts = this.#profileParts;
    const whole = parts.length > 0 && Array.from(parts).every((part) => part !== undefined);
    const profile = whole ? profileFor(Buffer.concat(parts), frame.components.length) : undefined;
    const notDecoded = whyNotDecoded(this.#frameCode, frame);
    const stated = preferredDensity(this.#jfif, this.#exif?.density);
    return {
      frame,
      orientation: this.#exif?.orientation ?? 1,
      adobe: this.#adobe,
      huffman: isHuffman(this.#frameCode),
      tablesAssumed: this.#tablesAssumed,
      tables: this.#tables,
      segments: this.#colourIsNamed(frame)
        ? this.#segments
        : [...this.#segments.slice(0, 1), adobeRgb, ...this.#segments.slice(1)],
      ...(stated && { density: stated }),
      ...(profile && { profile }),
      ...(notDecoded !== undefined && { notDecoded }),
    };
  }
}
