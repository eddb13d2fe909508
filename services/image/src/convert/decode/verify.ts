import sharp from 'sharp';
import { CorruptImageError } from '../errors.ts';
import type { VerifyRequest } from './protocol.ts';

// sharp decodes at an eighth only what it is asked to make smaller than that.
const shrink = 9;

/**
 * Reads a JPEG through for damage: every code of its entropy-coded data, but of each block no more than its mean, so
 * that it takes far less than drawing it.
 *
 * libvips stops at a warning of the JPEG library when it comes to the next strip of eight rows, which at this scale
 * are 64 of the picture. What the library said in the last strip is told as a warning once all is read, and nowhere
 * else: a picture of few rows would always pass without it.
 *
 * @throws {CorruptImageError} when there is any
 */
export async function verifyJpeg(file: Buffer, { width, height }: VerifyRequest): Promise<void> {
  let warned = '';
  const reading = sharp(file, { failOn: 'warning', limitInputPixels: width * height, sequentialRead: true })
    .on('warning', (warning: string) => (warned = warning.trim()))
    .resize({
      width: Math.max(1, Math.floor(width / shrink)),
      height: Math.max(1, Math.floor(height / shrink)),
      fit: 'fill',
      kernel: 'linear',
    })
    .raw();
  try {
    await reading.toBuffer();
  } catch (error) {
    const [reason = ''] = error instanceof Error ? error.message.split('\n') : [];
    throw new CorruptImageError(`JPEG: ${reason}`, { cause: error });
  }
  if (warned !== '') throw new CorruptImageError(`JPEG: ${warned}`);
}
