import type { DrawnPage, PageJob } from '../page-job.ts';
import { ImageTooLargeError } from '../errors.ts';
import { fits } from '../options.ts';
import { credibleDensity, layOut, orientedSize } from '../page-layout.ts';
import type { PdfImage } from '../pdf/image-object.ts';
import type { ByteReader } from '../byte-reader.ts';
import { readJpegHeader, type JpegHeader } from './jpeg-header.ts';
import { readScans } from './jpeg-scans.ts';
import { verifyOnTheWay } from './verify-while-copying.ts';

/**
 * Draws a JPEG without decoding it: PDF's DCTDecode reads the file as it stands, less its metadata. Undefined, with
 * nothing drawn, when it is of a kind that PDF does not know, or is to be changed.
 */
export async function copyJpeg(job: PageJob): Promise<DrawnPage | undefined> {
  const { options, reader, document } = job;
  // Encoding a JPEG again at a high quality could only lose.
  if (options.quality === 'low') return undefined;
  const header = await readJpegHeader(reader);
  const { frame, orientation } = header;
  if (frame.width * frame.height > job.context.limits.maxCopiedPixels) {
    throw new ImageTooLargeError(`${frame.width} x ${frame.height} pixels`);
  }
  const seen = orientedSize(frame, orientation);
  const change = !fits(seen, options) || (options.stripMetadata && header.hasProfile);
  if (!header.copyable || change) return undefined;

  const density = credibleDensity(options.stripMetadata ? undefined : header.density);
  const layout = layOut(frame, density, orientation, options.pageSize);
  const { picture } = await document.addPage(layout, orientation, pdfImage(header), false);
  const verified = job.context.verifyJpeg ?? false;
  const pieces = readPieces(reader, header);
  if (verified) await verifyOnTheWay(pieces, job, frame, (piece) => picture.write(piece));
  else for await (const piece of pieces) await picture.write(piece);
  await picture.end();
  return { path: 'passthrough', format: 'jpeg', ...seen, verified };
}

/** What is copied of the file, in pieces that are valid until the next is asked for. */
async function* readPieces(reader: ByteReader, header: JpegHeader): AsyncGenerator<Buffer> {
  yield* header.segments;
  yield* readScans(reader, header);
}

function pdfImage({ frame, profile, adobe }: JpegHeader): PdfImage {
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
