import { FILE_TYPE_BYTES, type ImageFormat } from '@sluice/contracts';
import type { DrawnPage, PageJob } from '../page-job.ts';
import { CorruptImageError, DecoderCrashedError } from '../errors.ts';
import type { ConvertOptions } from '../options.ts';
import { credibleDensity, layOut } from '../page-layout.ts';
import type { PagePicture, PictureStream } from '../pdf/document.ts';
import type { PdfImage } from '../pdf/image-object.ts';
import { checkedPng } from '../png/checked-png.ts';
import { ByteReader } from '../byte-reader.ts';
import type { DecodedImage, DecodeRequest } from './decoder-protocol.ts';

/** Draws what cannot be copied: a decoder process decodes it, scaled and turned as asked. */
export async function drawDecoded(job: PageJob): Promise<DrawnPage[]> {
  const { context, options, format } = job;
  const reader = job.reader.untouched ? job.reader : await reopen(job);
  try {
    const lossySource = await isLossy(reader, format);
    const request = decodeRequest(job, lossySource);
    const drawn: DrawnPage[] = [];
    const page = new OpenPage(job);
    const file = format === 'png' ? checkedPng(reader) : reader.rest();
    for await (const event of context.decoders.decode(file, request, context.signal)) {
      if (event.kind === 'image') {
        await page.end();
        await page.begin(event.image, options);
        drawn.push({ path: 'decode', format, width: event.image.width, height: event.image.height });
      } else await page.write(event.kind, event.bytes);
    }
    await page.end();
    if (drawn.length === 0) throw new CorruptImageError('no picture in the file');
    return drawn;
  } finally {
    await reader.close();
  }
}

async function reopen({ source, reader, context }: PageJob): Promise<ByteReader> {
  await reader.close();
  return ByteReader.open(source, context.limits.maxInputBytes);
}

/** The page that is being drawn: its colour comes first, its alpha after. */
class OpenPage {
  readonly #job: PageJob;
  #page: PagePicture | undefined;
  #stream: PictureStream | undefined;
  #image: DecodedImage | undefined;
  #inAlpha = false;

  constructor(job: PageJob) {
    this.#job = job;
  }

  async begin(image: DecodedImage, options: ConvertOptions): Promise<void> {
    const stated = options.stripMetadata || image.density === undefined ? undefined : image.density;
    const density = credibleDensity(stated === undefined ? undefined : { x: stated, y: stated });
    const layout = layOut(image, density, 1, options.pageSize);
    this.#image = image;
    this.#inAlpha = false;
    this.#page = await this.#job.document.addPage(layout, 1, colourImage(image), image.alpha);
    this.#stream = this.#page.picture;
  }

  async write(kind: 'colour' | 'alpha', bytes: Buffer): Promise<void> {
    if (kind === 'alpha' && !this.#inAlpha) await this.#beginAlpha();
    if (!this.#stream || (kind === 'colour' && this.#inAlpha)) {
      throw new DecoderCrashedError('the decoder sent its picture in the wrong order');
    }
    await this.#stream.write(bytes);
  }

  async end(): Promise<void> {
    if (this.#image?.alpha && !this.#inAlpha) throw new DecoderCrashedError('the decoder sent no alpha');
    await this.#stream?.end();
    this.#stream = undefined;
    this.#image = undefined;
  }

  async #beginAlpha(): Promise<void> {
    const [mask, image] = [this.#page?.mask, this.#image];
    if (!mask || !image) throw new DecoderCrashedError('the decoder sent an alpha that it had not announced');
    await this.#stream?.end();
    this.#inAlpha = true;
    this.#stream = await mask.begin(alphaImage(image));
  }
}

function colourImage(image: DecodedImage): PdfImage {
  const components = image.colour === 'gray' ? 1 : 3;
  return {
    width: image.width,
    height: image.height,
    bits: image.bits,
    colour: image.colour === 'gray' ? 'DeviceGray' : 'DeviceRGB',
    ...(image.encoding === 'jpeg' ? { filter: 'DCTDecode' } : { filter: 'FlateDecode', predictorColours: components }),
  };
}

function alphaImage({ width, height, bits }: DecodedImage): PdfImage {
  return { width, height, bits, colour: 'DeviceGray', filter: 'FlateDecode', predictorColours: 1 };
}

// Transparent parts of a picture that was asked for as JPEG are laid over white; otherwise its alpha is kept.
const lowQuality = { jpeg: { quality: 80, fullChroma: false }, flatten: true };
const highQuality = { jpeg: { quality: 90, fullChroma: true }, flatten: true };
const lossyAlready = { jpeg: { quality: 90, fullChroma: false }, flatten: false };
const lossless = { jpeg: undefined, flatten: false };

function decodeRequest({ options, format, context }: PageJob, lossySource: boolean): DecodeRequest {
  const coding = { low: lowQuality, high: highQuality, auto: lossySource ? lossyAlready : lossless, lossless };
  return {
    format,
    ...coding[options.quality],
    maxWidth: options.maxWidth,
    maxHeight: options.maxHeight,
    maxPixels: context.limits.maxDecodedPixels,
    maxPages: context.limits.maxPages,
  };
}

/** Whether the source has lost detail to compression already, so that JPEG 90 costs little and saves much. */
async function isLossy(reader: ByteReader, format: ImageFormat): Promise<boolean> {
  if (format === 'avif' || format === 'jpeg') return true;
  if (format !== 'webp') return false;
  // An extended file names its coding in a later chunk.
  const coding = (await reader.peek(FILE_TYPE_BYTES)).toString('latin1', 12, 16);
  return coding === 'VP8X' ? !(await reader.peek(64 * 1024)).includes('VP8L') : coding === 'VP8 ';
}
