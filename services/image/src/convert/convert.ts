import { detectFileType, FILE_TYPE_BYTES } from '@sluice/contracts';
import { copyJpeg } from './jpeg/copy-jpeg.ts';
import { drawDecoded } from './decode/draw-decoded.ts';
import { CorruptImageError, ImageTooLargeError, PayloadTooLargeError, UnsupportedMediaTypeError } from './errors.ts';
import type { ConvertOptions } from './options.ts';
import type { ConversionPath, ConvertContext, DrawnPicture, PageJob } from './page-job.ts';
import { Pages } from './pages.ts';
import { PdfWriter } from './pdf/document.ts';
import { drawPng } from './png/draw-png.ts';
import { MeasuringSink, type Sink } from './pdf/sink.ts';
import { ByteReader, type PageSource } from './byte-reader.ts';

/** What a conversion made. */
export interface Conversion {
  /** The pictures in the order they were drawn. */
  readonly pictures: readonly DrawnPicture[];
  readonly pageCount: number;
  /** How the pixels travelled, or `mixed`. */
  readonly path: ConversionPath | 'mixed';
  /** Pixels of the first picture. */
  readonly width: number;
  readonly height: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Of the PDF, in hex. */
  readonly sha256: string;
}

/**
 * Turns pictures into one PDF, in the order given (a TIFF: each of its own pages is a picture), streaming: neither a picture that can
 * be copied nor the PDF is ever in memory as a whole. The same sources and options give the same bytes.
 *
 * When it throws, what was written to the sink is no PDF and must be thrown away.
 *
 * @throws {ConversionError} with a code that says why the pictures cannot be converted
 * @throws the errors of reading a source and of writing to the sink
 */
export async function convert(
  sources: readonly PageSource[],
  options: ConvertOptions,
  sink: Sink,
  context: ConvertContext,
): Promise<Conversion> {
  const measured = new MeasuringSink(sink);
  const document = new PdfWriter(measured, options);
  const pages = new Pages(document, options);
  const pictures: DrawnPicture[] = [];
  let inputBytes = 0;
  const { maxPages } = context.limits;
  for (const source of sources) {
    context.signal?.throwIfAborted();
    // Of a file of many pages, no more than are left.
    const left = maxPages - pictures.length;
    if (left === 0 || sources.length > maxPages) throw new ImageTooLargeError(`more than ${maxPages} pages`);
    const limits = { ...context.limits, maxPages: left };
    pictures.push(...(await drawSource(source, options, pages, { ...context, limits })));
    inputBytes += source.sizeBytes;
  }
  await document.end(measured.fingerprint());
  const [first] = pictures;
  if (!first) throw new UnsupportedMediaTypeError('no picture to convert');
  return {
    pictures,
    pageCount: pages.count,
    path: pictures.every(({ path }) => path === first.path) ? first.path : 'mixed',
    width: first.width,
    height: first.height,
    inputBytes,
    outputBytes: measured.bytes,
    sha256: measured.sha256(),
  };
}

async function drawSource(
  source: PageSource,
  options: ConvertOptions,
  pages: Pages,
  context: ConvertContext,
): Promise<readonly DrawnPicture[]> {
  const { maxInputBytes } = context.limits;
  if (source.sizeBytes > maxInputBytes) throw new PayloadTooLargeError(`more than ${maxInputBytes} bytes`);
  const reader = await ByteReader.open(source, maxInputBytes);
  try {
    const found = detectFileType(await reader.peek(FILE_TYPE_BYTES));
    if (found.kind === 'damaged') throw new CorruptImageError(found.message);
    if (found.kind === 'other') throw new UnsupportedMediaTypeError(`${source.name}: ${found.message}`);
    const { format } = found;
    const job: PageJob = { source, reader, format, options, context, pages };
    const drawn = format === 'png' ? await drawPng(job) : format === 'jpeg' ? await copyJpeg(job) : undefined;
    return drawn ? [drawn] : await drawDecoded(job);
  } finally {
    await reader.close();
  }
}
