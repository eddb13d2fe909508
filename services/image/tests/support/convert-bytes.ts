import { convert, type Conversion } from '../../src/convert/convert.ts';
import {
  DecoderPool,
  defaultDecoderSettings,
  type DecoderPoolSettings,
} from '../../src/convert/decode/decoder-pool.ts';
import { defaultLimits, defaultOptions, type ConvertLimits, type ConvertOptions } from '../../src/convert/options.ts';
import { MemorySink } from '../../src/convert/pdf/sink.ts';
import { sourceFromBytes, type PageSource } from '../../src/convert/byte-reader.ts';

/** A pool for a suite. Close it when the suite is done. */
export function startDecoders(settings: Partial<DecoderPoolSettings> = {}): DecoderPool {
  return new DecoderPool({ ...defaultDecoderSettings, size: 2, ...settings });
}

export interface Converted extends Conversion {
  readonly pdf: Buffer;
}

/** Converts files in memory with the defaults, or with what is given. */
export async function convertBytes(
  decoders: DecoderPool,
  files: Buffer | readonly (Buffer | PageSource)[],
  options: Partial<ConvertOptions> = {},
  limits: Partial<ConvertLimits> = {},
  { verifyJpeg = false }: { readonly verifyJpeg?: boolean } = {},
): Promise<Converted> {
  const sink = new MemorySink();
  const sources = (Buffer.isBuffer(files) ? [files] : files).map((file) =>
    Buffer.isBuffer(file) ? sourceFromBytes(file) : file,
  );
  const conversion = await convert(sources, { ...defaultOptions, ...options }, sink, {
    decoders,
    limits: { ...defaultLimits, ...limits },
    verifyJpeg,
  });
  return { ...conversion, pdf: sink.toBuffer() };
}
