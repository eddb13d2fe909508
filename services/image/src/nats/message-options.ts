import { PageSize, Quality, type ImageOptions } from '@sluice/contracts';
import { defaultOptions, type ConvertOptions } from '../convert/options.ts';

const qualities: Partial<Record<Quality, ConvertOptions['quality']>> = {
  [Quality.AUTO]: 'auto',
  [Quality.LOSSLESS]: 'lossless',
  [Quality.HIGH]: 'high',
  [Quality.LOW]: 'low',
};

const pageSizes: Partial<Record<PageSize, ConvertOptions['pageSize']>> = {
  [PageSize.IMAGE]: 'image',
  [PageSize.A4]: 'a4',
  [PageSize.LETTER]: 'letter',
};

/** The options of a message; what it leaves out, or names in words of a newer version, is as by default. */
export function optionsOfMessage(options: ImageOptions | undefined): ConvertOptions {
  if (!options) return defaultOptions;
  return {
    quality: qualities[options.quality] ?? defaultOptions.quality,
    pageSize: pageSizes[options.pageSize] ?? defaultOptions.pageSize,
    stripMetadata: options.stripMetadata,
    maxWidth: options.maxWidth > 0 ? options.maxWidth : undefined,
    maxHeight: options.maxHeight > 0 ? options.maxHeight : undefined,
  };
}
