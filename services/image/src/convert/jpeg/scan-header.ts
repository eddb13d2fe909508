import type { JpegFrame } from './jpeg-tables.ts';

/**
 * A scan header (SOS, behind its length) as a PDF reader must see it. Some cameras write zeros for the coefficients of a
 * sequential scan, which has all of them in any case: decoders do not look, but verify it they may.
 */
export function wholeScanHeader(data: Buffer, { progressive }: JpegFrame): Buffer {
  const [count = 0] = data;
  const at = 1 + count * 2;
  const zeros = data.length === at + 3 && data[at] === 0 && data[at + 1] === 0 && data[at + 2] === 0;
  if (progressive || !zeros) return data;
  const whole = Buffer.from(data);
  whole[at + 1] = 63;
  return whole;
}
