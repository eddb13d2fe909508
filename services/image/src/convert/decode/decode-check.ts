import sharp from 'sharp';
import { CorruptImageError } from '../errors.ts';
import { DamageReport } from './libvips-warnings.ts';
import type { VerifyRequest } from './decoder-protocol.ts';

// sharp decodes at an eighth only what it is asked to make smaller than that.
const shrink = 9;

/**
 * Reads a JPEG through for damage: every code of its entropy-coded data, but of each block no more than its mean, so
 * that it takes far less than drawing it.
 *
 * @throws {CorruptImageError} when there is any
 */
export async function verifyJpeg(file: Buffer, { width, height }: VerifyRequest): Promise<void> {
  const damage = new DamageReport();
  const reading = damage
    .watch(sharp(file, { failOn: 'warning', limitInputPixels: width * height, sequentialRead: true }))
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
  damage.throwIfAny();
}
