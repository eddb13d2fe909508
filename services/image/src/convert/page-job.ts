import type { ImageFormat } from '@sluice/contracts';
import type { DecoderPool } from './decode/decoder-pool.ts';
import type { ConvertLimits, ConvertOptions } from './options.ts';
import type { Pages } from './pages.ts';
import type { ByteReader, PageSource } from './byte-reader.ts';

/** How a picture's pixels travelled: copied as they were compressed, parted from their alpha, or decoded. */
export type ConversionPath = 'passthrough' | 'split' | 'decode';

/** One picture that was drawn; its size in pixels is what is seen, after orientation and scaling. */
export interface DrawnPicture {
  readonly path: ConversionPath;
  readonly format: ImageFormat;
  readonly width: number;
  readonly height: number;
  /** A JPEG that was copied, and was read through for damage on the way. */
  readonly verified?: boolean;
}

/** What a conversion works with. */
export interface ConvertContext {
  readonly limits: ConvertLimits;
  readonly decoders: DecoderPool;
  /** Whether JPEGs that are copied are read through for damage, which takes a decoder. */
  readonly verifyJpeg?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What every way of drawing a page gets. */
export interface PageJob {
  readonly source: PageSource;
  readonly reader: ByteReader;
  readonly format: ImageFormat;
  readonly options: ConvertOptions;
  readonly context: ConvertContext;
  readonly pages: Pages;
}
