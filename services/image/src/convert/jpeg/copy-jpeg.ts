import type { DrawnPicture, PageJob } from '../page-job.ts';
import { ImageTooLargeError } from '../errors.ts';
import { fits } from '../options.ts';
import { pageDensity } from '../metadata/density.ts';
import { coloursOf, type IccProfile } from '../metadata/icc.ts';
import { orientedSize } from '../page-layout.ts';
import type { PdfImage } from '../pdf/image-object.ts';
import { ByteReader } from '../byte-reader.ts';
import { readJpegHeader, type JpegHeader } from './jpeg-header.ts';
import { readScans } from './jpeg-scans.ts';
import { verifyOnTheWay } from './verify-while-copying.ts';

/**
 * Draws a JPEG without decoding it: PDF's DCTDecode reads the file as it stands, less its metadata. Undefined, with
 * nothing drawn, when it is of a kind that PDF does not know, or is to be changed.
 */
export async function copyJpeg(job: PageJob): Promise<DrawnPicture | undefined> {
  const { options, reader, pages } = job;
  // Encoding a JPEG again at a high quality could only lose.
  if (options.quality === 'low') return undefined;
  const header = await readJpegHeader(reader);
  const { frame, orientation } = header;
  if (frame.width * frame.height > job.context.limits.maxCopiedPixels) {
    throw new ImageTooLargeError(`${frame.width} x ${frame.height} pixels`);
  }
  const seen = orientedSize(frame, orientation);
  if (!header.huffman || header.notDecoded !== undefined || !fits(seen, options)) return undefined;

  const { stripMetadata } = options;
  const density = pageDensity(stripMetadata ? undefined : header.density);
  const profile = header.profile && stripMetadata ? await coloursOf(header.profile) : header.profile;
  const { picture } = await pages.place({ image: pdfImage(header, profile), density, orientation, masked: false });
  let verified = job.context.verifyJpeg ?? false;
  let endMissing = false;
  const pieces = readPieces(reader, header, () => (endMissing = true));
  if (verified) await verifyOnTheWay(pieces, job, frame, (piece) => picture.write(piece));
  else for await (const piece of pieces) await picture.write(piece);
  await picture.end();
  if ((endMissing || header.tablesAssumed) && !verified) {
    await verifyAgain(job, frame);
    verified = true;
  }
  return { path: 'passthrough', format: 'jpeg', ...seen, verified };
}

/** What is copied of the file, in pieces that are valid until the next is asked for. */
async function* readPieces(reader: ByteReader, header: JpegHeader, onMissingEnd?: () => void): AsyncGenerator<Buffer> {
  yield* header.segments;
  yield* readScans(reader, header, onMissingEnd);
}

/** Reads the picture a second time, through a decoder: whether a file that was repaired has all of its data. */
async function verifyAgain(job: PageJob, frame: JpegHeader['frame']): Promise<void> {
  const reader = await ByteReader.open(job.source, job.context.limits.maxInputBytes);
  try {
    await verifyOnTheWay(readPieces(reader, await readJpegHeader(reader)), job, frame, async () => {});
  } finally {
    await reader.close();
  }
}

function pdfImage({ frame, adobe }: JpegHeader, profile: IccProfile | undefined): PdfImage {
  const components = frame.components.length;
  return {
    width: frame.width,
    height: frame.height,
    bits: 8,
    colour: components === 1 ? 'DeviceGray' : components === 3 ? 'DeviceRGB' : 'DeviceCMYK',
    filter: 'DCTDecode',
    profile,
    inverted: components === 4 && adobe,
  };
}
