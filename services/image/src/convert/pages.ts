import type { Density } from './metadata/density.ts';
import { UnsupportedImageError } from './errors.ts';
import type { PageOptions } from './options.ts';
import { placeIn, printedSize, sheetFor, type Orientation, type Sheet } from './page-layout.ts';
import type { PagePicture, PdfWriter } from './pdf/document.ts';
import { outsidePdfA, type PdfImage } from './pdf/image-object.ts';

/** A picture that is to be drawn: its stored pixels are in `image`. */
export interface PictureToPlace {
  readonly image: PdfImage;
  readonly density: Density;
  readonly orientation: Orientation;
  /** Whether a soft mask may follow. */
  readonly masked: boolean;
}

/** Puts pictures on the pages of a document in the order they come: on the sheet begun, or on a new one when it is full. */
export class Pages {
  readonly #document: PdfWriter;
  readonly #options: PageOptions;
  #sheet: Sheet | undefined;
  #filled = 0;
  #count = 0;

  constructor(document: PdfWriter, options: PageOptions) {
    this.#document = document;
    this.#options = options;
  }

  /** Pages begun so far. */
  get count(): number {
    return this.#count;
  }

  /**
   * Begins a picture. Its bytes are written to what is returned, which must be ended before the next is begun.
   *
   * @throws {UnsupportedImageError} when the document is to be PDF/A and the picture cannot be in one
   */
  place({ image, density, orientation, masked }: PictureToPlace): Promise<PagePicture> {
    const outside = this.#options.standard === 'pdfa-2b' ? outsidePdfA(image) : undefined;
    if (outside) throw new UnsupportedImageError(`${outside}: ask for a PDF without standard=pdfa-2b`);
    const printed = printedSize(image, density, orientation);
    if (!this.#sheet || this.#filled === this.#sheet.places.length) {
      this.#sheet = sheetFor(printed, this.#options);
      this.#document.addPage(this.#sheet);
      this.#filled = 0;
      this.#count += 1;
    }
    const place = this.#sheet.places[this.#filled];
    if (!place) throw new Error('a sheet has no place');
    this.#filled += 1;
    // A page that is as large as its picture is filled by it, also where a side had to be made longer to be shown.
    const placement =
      this.#options.pageSize === 'image' ? { picture: place } : placeIn(place, printed, this.#options.fit);
    return this.#document.addPicture(placement, orientation, image, masked);
  }
}
