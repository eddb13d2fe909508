import Pdfkit from 'pdfkit';
import { defaultOptions, type ConvertOptions } from '../options.ts';
import type { Orientation, Placement, Sheet } from '../page-layout.ts';
import type { Sink } from './sink.ts';
import { imageEntries, type PdfImage } from './image-object.ts';
import { pdfkitInternals, pdfSyntax, type PdfReference } from './pdfkit-internals.ts';
import { xmpPacket } from './xmp.ts';

/** What of the options is the document's. */
export type DocumentOptions = Pick<ConvertOptions, 'title' | 'author' | 'standard' | 'pageOrder'>;

/** As producer and creator: what made the file. */
const program = 'Sluice';

/**
 * A PDF of pictures. pdfkit writes the document; pictures stream through `PictureStream`, because pdfkit
 * holds an object in memory until its length is known. Nothing in it depends on the clock, so the same pages give the
 * same bytes.
 */
export class PdfWriter {
  readonly #kit: PDFKit.PDFDocument;
  readonly #sink: Sink;
  readonly #options: DocumentOptions;

  constructor(sink: Sink, options: DocumentOptions = defaultOptions) {
    this.#sink = sink;
    this.#options = options;
    const { title, author, standard } = options;
    this.#kit = new Pdfkit({
      autoFirstPage: false,
      compress: false,
      // pdfkit loads Helvetica unless told that there is no font at all; its types do not know.
      font: null as unknown as string,
      pdfVersion: '1.7',
      // The output intent: what colours without a profile mean.
      ...(standard === 'pdfa-2b' && { subset: 'PDF/A-2b' as const }),
      info: {
        Producer: program,
        Creator: program,
        ...(title && { Title: title }),
        ...(author && { Author: author }),
        CreationDate: new Date(0),
      },
    });
    delete (this.#kit.info as Record<string, unknown>)['CreationDate'];
    // pdfkit's own has dates, and does not escape titles.
    pdfkitInternals(this.#kit).endMetadata = () => {
      if (standard === 'pdfa-2b') this.#writeXmp(xmpPacket({ title, author, program }));
    };
  }

  /** Begins a page. */
  addPage({ widthPt, heightPt, userUnit }: Sheet): void {
    this.#kit.addPage({ size: [widthPt, heightPt], margin: 0 });
    if (userUnit > 1) pdfkitInternals(this.#kit).page.dictionary.data['UserUnit'] = userUnit;
  }

  /** Begins a picture on the page. Its bytes are written to what is returned, which must be ended. */
  async addPicture(
    { picture: { x, y, width, height }, clip }: Placement,
    orientation: Orientation,
    image: PdfImage,
    masked: boolean,
  ): Promise<PagePicture> {
    const kit = this.#kit;
    const reference = kit.ref({}) as unknown as PdfReference;
    const mask = masked ? (kit.ref({}) as unknown as PdfReference) : undefined;
    // An object with a size and embed() is drawn as it is: pdfkit's own decoders never see the bytes.
    const placed = {
      width: image.width,
      height: image.height,
      orientation,
      label: `I${reference.id}`,
      obj: reference,
      embed: () => {},
    };
    if (clip) kit.save().rect(clip.x, clip.y, clip.width, clip.height).clip();
    kit.image(placed as unknown as string, x, y, { width, height });
    if (clip) kit.restore();
    const picture = await this.#begin(reference, image, mask);
    return { picture, mask: mask ? new PendingMask(this.#sink, kit, mask) : undefined };
  }

  /** Writes the end of the document. Its identifier is derived from a fingerprint of the pages. */
  async end(fingerprint: Uint8Array): Promise<void> {
    const internals = pdfkitInternals(this.#kit);
    internals._id = fingerprint.subarray(0, 16);
    if (this.#options.pageOrder === 'reversed') internals._root.data.Pages.data.Kids.reverse();
    this.#kit.end();
    await drain(this.#kit, this.#sink);
  }

  #writeXmp(packet: Buffer): void {
    const reference = this.#kit.ref({ Type: 'Metadata', Subtype: 'XML' }) as unknown as PdfReference;
    reference.end(packet);
    pdfkitInternals(this.#kit)._root.data.Metadata = reference;
  }

  async #begin(reference: PdfReference, image: PdfImage, mask: PdfReference | undefined): Promise<PictureStream> {
    const entries = imageEntries(image, this.#colourSpace(image));
    return PictureStream.begin(this.#sink, this.#kit, reference, { ...entries, ...(mask && { SMask: mask }) });
  }

  #colourSpace(image: PdfImage): unknown {
    const kit = this.#kit;
    const device = typeof image.colour === 'string' ? image.colour : 'DeviceRGB';
    const { profile } = image;
    let base: unknown = device;
    if (profile) {
      const filter = profile.deflated ? { Filter: 'FlateDecode' } : {};
      const reference = kit.ref({ N: profile.components, Alternate: device, ...filter }) as unknown as PdfReference;
      reference.end(profile.data);
      base = ['ICCBased', reference];
    }
    if (typeof image.colour === 'string') return base;
    const palette = kit.ref({}) as unknown as PdfReference;
    palette.end(image.colour.palette);
    return ['Indexed', base, image.colour.palette.length / 3 - 1, palette];
  }
}

/** A page's picture, to be written now, and its mask, to be written or waived after it. */
export interface PagePicture {
  readonly picture: PictureStream;
  readonly mask: PendingMask | undefined;
}

/** A soft mask that a picture refers to already. Whether there is one may only be known when the picture is done. */
export class PendingMask {
  readonly #sink: Sink;
  readonly #kit: PDFKit.PDFDocument;
  readonly #reference: PdfReference;

  constructor(sink: Sink, kit: PDFKit.PDFDocument, reference: PdfReference) {
    this.#sink = sink;
    this.#kit = kit;
    this.#reference = reference;
  }

  begin(image: PdfImage): Promise<PictureStream> {
    return PictureStream.begin(this.#sink, this.#kit, this.#reference, imageEntries(image, image.colour));
  }

  /** There is no mask: a reference to null is the same as no entry at all. */
  waive(): void {
    const internals = pdfkitInternals(this.#kit);
    this.#reference.offset = internals._offset;
    internals._write(`${this.#reference.id} 0 obj\nnull\nendobj`);
    internals._refEnd(this.#reference);
  }
}

/**
 * One stream object whose bytes go out as they come: its length is an object of its own, written behind it. This is
 * the part of a PDF that pdfkit cannot write without holding it.
 */
export class PictureStream {
  readonly #sink: Sink;
  readonly #kit: PDFKit.PDFDocument;
  readonly #reference: PdfReference;
  readonly #length: PdfReference;
  #bytes = 0;

  private constructor(sink: Sink, kit: PDFKit.PDFDocument, reference: PdfReference, length: PdfReference) {
    this.#sink = sink;
    this.#kit = kit;
    this.#reference = reference;
    this.#length = length;
  }

  static async begin(
    sink: Sink,
    kit: PDFKit.PDFDocument,
    reference: PdfReference,
    entries: Record<string, unknown>,
  ): Promise<PictureStream> {
    const internals = pdfkitInternals(kit);
    const length = kit.ref({}) as unknown as PdfReference;
    reference.offset = internals._offset;
    internals._write(`${reference.id} 0 obj`);
    internals._write(pdfSyntax({ ...entries, Length: length }));
    internals._write('stream');
    await drain(kit, sink);
    return new PictureStream(sink, kit, reference, length);
  }

  async write(bytes: Uint8Array): Promise<void> {
    pdfkitInternals(this.#kit)._offset += bytes.length;
    this.#bytes += bytes.length;
    await this.#sink.write(bytes);
  }

  async end(): Promise<void> {
    const internals = pdfkitInternals(this.#kit);
    internals._write('\nendstream\nendobj');
    internals._refEnd(this.#reference);
    this.#length.offset = internals._offset;
    internals._write(`${this.#length.id} 0 obj\n${this.#bytes}\nendobj`);
    internals._refEnd(this.#length);
    await drain(this.#kit, this.#sink);
  }
}

/** Hands on what pdfkit has written so far. */
async function drain(kit: PDFKit.PDFDocument, sink: Sink): Promise<void> {
  const bytes = kit.read() as Buffer | null;
  if (bytes) await sink.write(bytes);
}
