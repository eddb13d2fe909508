import type { Duplex } from 'node:stream';
import type { ImageFormat } from '@sluice/contracts';
import type { ConversionErrorCode } from '../errors.ts';
import type { StatedDensity } from '../metadata/density.ts';
import type { Quality } from '../options.ts';
import type { Orientation } from '../page-layout.ts';

/** What the service asks of a decoder process. The file's bytes follow. */
export interface DecodeRequest {
  readonly format: ImageFormat;
  readonly quality: Quality;
  /** Of the picture as it is seen. */
  readonly maxWidth?: number | undefined;
  readonly maxHeight?: number | undefined;
  /** How the picture is turned, where the service has read it already and the file that follows does not say. */
  readonly orientation?: Orientation | undefined;
  readonly maxPixels: number;
  readonly maxPages: number;
}

/** Asks a decoder to read a JPEG through for damage and to draw nothing of it. The file's bytes follow. */
export interface VerifyRequest {
  readonly verify: 'jpeg';
  /** Of the picture, in pixels. */
  readonly width: number;
  readonly height: number;
}

/** One decoded picture as it is stored, not turned, in the colours of its profile: ready to be drawn by a PDF. */
export interface DecodedImage {
  readonly width: number;
  readonly height: number;
  readonly bits: 1 | 8 | 16;
  readonly colour: 'gray' | 'rgb' | 'cmyk';
  /** `jpeg`: a JPEG file. `rows`: a zlib stream of rows with PNG filters. */
  readonly encoding: 'jpeg' | 'rows';
  /** Whether rows of alpha follow those of colour, of the same size and depth but for JPEG, whose alpha has 8 bits. */
  readonly alpha: boolean;
  readonly density?: StatedDensity | undefined;
  readonly orientation: Orientation;
  /** Bytes of the colour profile, which has been sent before the picture; 0 for none. */
  readonly profileBytes: number;
}

/**
 * What comes back: for each picture its `profile` if it has one, `image`, `colour`s, then `alpha`s if it has any; at the
 * end `done` or `failed`.
 */
export type DecodeEvent =
  | { readonly kind: 'profile'; readonly bytes: Buffer }
  | { readonly kind: 'image'; readonly image: DecodedImage }
  | { readonly kind: 'colour'; readonly bytes: Buffer }
  | { readonly kind: 'alpha'; readonly bytes: Buffer }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly code: ConversionErrorCode; readonly message: string };

/** A frame on the pipe between the two: one letter, the payload's length, the payload. */
export interface Frame {
  readonly type: FrameType;
  readonly payload: Buffer;
}

export const frameType = {
  request: 0x52,
  input: 0x49,
  inputEnd: 0x45,
  // Instead of the end: the rest of the file will not come.
  drop: 0x58,
  profile: 0x4d,
  image: 0x50,
  colour: 0x43,
  alpha: 0x41,
  done: 0x44,
  failed: 0x46,
} as const;
type FrameType = (typeof frameType)[keyof typeof frameType];

const headerBytes = 5;
const knownTypes = new Set<number>(Object.values(frameType));
/** A decoder that was taken over must not make the service allocate at its will. */
const mostPayloadBytes = 256 * 2 ** 20;

/** Sends a frame; resolves when it is on its way, and its payload may be overwritten. */
export async function writeFrame(pipe: Duplex, type: FrameType, payload: Uint8Array): Promise<void> {
  const header = Buffer.alloc(headerBytes);
  header[0] = type;
  header.writeUInt32BE(payload.length, 1);
  pipe.write(header);
  await new Promise<void>((resolve) => {
    const settle = (): void => {
      pipe.off('close', settle);
      resolve();
    };
    pipe.on('close', settle);
    pipe.write(payload, settle);
  });
}

export function writeJson(pipe: Duplex, type: FrameType, value: unknown): Promise<void> {
  return writeFrame(pipe, type, Buffer.from(JSON.stringify(value)));
}

/** The frames that arrive on a pipe, until it ends. */
export async function* readFrames(pipe: Duplex): AsyncGenerator<Frame> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let wanted = headerBytes;
  for await (const chunk of pipe as AsyncIterable<Buffer>) {
    held.push(chunk);
    heldBytes += chunk.length;
    if (heldBytes < wanted) continue;
    let bytes = held.length === 1 ? chunk : Buffer.concat(held);
    wanted = headerBytes;
    while (bytes.length >= headerBytes) {
      const length = bytes.readUInt32BE(1);
      const type = bytes[0] as number;
      if (!knownTypes.has(type) || length > mostPayloadBytes) throw new Error('broken frame on the decoder pipe');
      wanted = headerBytes + length;
      if (bytes.length < wanted) break;
      yield { type: type as FrameType, payload: bytes.subarray(headerBytes, wanted) };
      bytes = bytes.subarray(wanted);
      wanted = headerBytes;
    }
    held = bytes.length > 0 ? [bytes] : [];
    heldBytes = bytes.length;
  }
}
