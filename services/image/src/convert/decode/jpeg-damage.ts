import type { Sharp } from 'sharp';
import { CorruptImageError } from '../errors.ts';

/**
 * What the JPEG library found wrong and no error told of.
 *
 * libvips stops at a warning of that library when it comes to the next strip of rows: eight of them, or more where the
 * picture is decoded smaller. What was said in the last strip is told as a warning once all is read, and nowhere else.
 */
export class DamageReport {
  #found = '';

  /** Listens to a picture that is about to be read; its clones count. */
  watch(picture: Sharp): Sharp {
    return picture.on('warning', (warning: string) => {
      // Warnings of other formats do not bear on the pixels, for example an unknown TIFF tag.
      if (warning.includes('VipsJpeg')) this.#found = warning.trim();
    });
  }

  /** @throws {CorruptImageError} when a picture that has been read was damaged */
  throwIfAny(): void {
    if (this.#found !== '') throw new CorruptImageError(`JPEG: ${this.#found}`);
  }
}
