import type { Sharp } from 'sharp';
import { CorruptImageError } from '../errors.ts';

// libtiff warns of damaged fax lines and damaged JPEG within a TIFF; its other warnings are of tags.
const pixelWarnings = /VipsJpeg|JPEGLib|Line length mismatch|Premature EO[FL]|Bad code word|Read error/;

/**
 * Damage of the pixels that libvips only warns of.
 *
 * For JPEG, libvips stops at a warning of the library when it comes to the next strip of rows: eight of them, or more
 * where the picture is decoded smaller. A warning in the last strip is emitted once all is read, and nowhere else.
 */
export class DamageReport {
  #found = '';

  /** Listens to a picture that is about to be read; its clones count. */
  watch(picture: Sharp): Sharp {
    return picture.on('warning', (warning: string) => {
      if (pixelWarnings.test(warning)) this.#found = warning.trim().split('\n')[0] ?? '';
    });
  }

  /** @throws {CorruptImageError} when a picture that has been read was damaged */
  throwIfAny(): void {
    if (this.#found !== '') throw new CorruptImageError(this.#found);
  }
}
