import { ByteReader } from '../byte-reader.ts';
import { CorruptImageError, DecoderCrashedError, UnsupportedImageError } from '../errors.ts';
import { decodableJpeg } from '../jpeg/decodable-jpeg.ts';
import { readJpegHeader } from '../jpeg/jpeg-header.ts';
import { pageDensity, type StatedDensity } from '../metadata/density.ts';
import { coloursOf, profileFor, profileOfIccp, type IccProfile } from '../metadata/icc.ts';
import { orientedSize, type Orientation } from '../page-layout.ts';
import type { DrawnPicture, PageJob } from '../page-job.ts';
import type { PagePicture, PictureStream } from '../pdf/document.ts';
import type { PdfImage } from '../pdf/image-object.ts';
import { decodablePng } from '../png/decodable-png.ts';
import { readPngMetadata } from '../png/png-metadata.ts';
import type { DecodedImage, DecodeRequest } from './decoder-protocol.ts';

/** Draws what cannot be copied: a decoder process decodes it, scaled as asked. */
export async function drawDecoded(job: PageJob): Promise<DrawnPicture[]> {
  const { context, format } = job;
  const reader = job.reader.untouched ? job.reader : await reopen(job);
  try {
    const input = await decoderInput(job, reader);
    const drawn: DrawnPicture[] = [];
    const page = new OpenPage(job, input.facts);
    for await (const event of context.decoders.decode(input.file, requestFor(job, input), context.signal)) {
      if (event.kind === 'image') {
        await page.end();
        await page.begin(event.image);
        drawn.push({ path: 'decode', format, ...orientedSize(event.image, event.image.orientation) });
      } else if (event.kind === 'profile') page.profile(event.bytes);
      else await page.write(event.kind, event.bytes);
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

/** What was read of a file before its decoder sees it. Of formats that are not read here, the decoder tells. */
interface HeaderFacts {
  readonly density: StatedDensity | undefined;
  readonly orientation: Orientation;
  readonly profile: IccProfile | undefined;
}

interface DecoderInput {
  readonly file: AsyncIterable<Uint8Array>;
  readonly facts?: HeaderFacts;
}

async function decoderInput(job: PageJob, reader: ByteReader): Promise<DecoderInput> {
  if (job.format === 'png') {
    const metadata = await readPngMetadata(reader);
    const { iccp, orientation, density } = metadata;
    const profile = iccp && (await profileOfIccp(iccp, metadata.profileComponents));
    const file = decodablePng(reader, metadata);
    return { file, facts: { density, orientation, profile } };
  }
  if (job.format === 'jpeg') {
    const header = await readJpegHeader(reader);
    if (header.notDecoded !== undefined) throw new UnsupportedImageError(header.notDecoded);
    const { density, orientation, profile } = header;
    return { file: decodableJpeg(reader, header), facts: { density, orientation, profile } };
  }
  return { file: reader.rest() };
}

function requestFor({ options, format, context }: PageJob, { facts }: DecoderInput): DecodeRequest {
  const { quality, maxWidth, maxHeight } = options;
  const { maxDecodedPixels: maxPixels, maxPages } = context.limits;
  return { format, quality, maxWidth, maxHeight, orientation: facts?.orientation, maxPixels, maxPages };
}

/** The page that is being drawn: its profile comes first, then its colour, its alpha after. */
class OpenPage {
  readonly #job: PageJob;
  readonly #facts: HeaderFacts | undefined;
  #profile: Buffer | undefined;
  #page: PagePicture | undefined;
  #stream: PictureStream | undefined;
  #image: DecodedImage | undefined;
  #inAlpha = false;

  constructor(job: PageJob, facts: HeaderFacts | undefined) {
    this.#job = job;
    this.#facts = facts;
  }

  profile(bytes: Buffer): void {
    this.#profile = bytes;
  }

  async begin(image: DecodedImage): Promise<void> {
    const { options, pages } = this.#job;
    const { density: stated, orientation } = this.#facts ?? image;
    const density = pageDensity(options.stripMetadata ? undefined : stated);
    this.#image = image;
    this.#inAlpha = false;
    const profile = this.#profileOf(image);
    const colour = colourImage(image, profile && options.stripMetadata ? await coloursOf(profile) : profile);
    this.#page = await pages.place({ image: colour, density, orientation, masked: image.alpha });
    this.#stream = this.#page.picture;
  }

  #profileOf(image: DecodedImage): IccProfile | undefined {
    const sent = this.#profile;
    this.#profile = undefined;
    const known = this.#facts?.profile;
    if (known) return known.components === componentsOf[image.colour] ? known : undefined;
    return sent && profileFor(sent, componentsOf[image.colour]);
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

const componentsOf = { gray: 1, rgb: 3, cmyk: 4 } as const;
const deviceOf = { gray: 'DeviceGray', rgb: 'DeviceRGB', cmyk: 'DeviceCMYK' } as const;

function colourImage(image: DecodedImage, profile: IccProfile | undefined): PdfImage {
  const { width, height, bits, colour, encoding } = image;
  return {
    width,
    height,
    bits,
    colour: deviceOf[colour],
    profile,
    // libjpeg writes CMYK as Adobe does, counting down.
    ...(encoding === 'jpeg'
      ? { filter: 'DCTDecode', inverted: colour === 'cmyk' }
      : { filter: 'FlateDecode', predictorColours: componentsOf[colour] }),
  };
}

function alphaImage({ width, height, bits }: DecodedImage): PdfImage {
  return { width, height, bits, colour: 'DeviceGray', filter: 'FlateDecode', predictorColours: 1 };
}
