import {
  ImageFit,
  pageLimits,
  PageOrder,
  PageOrientation,
  PageSize,
  PdfStandard,
  Quality,
  type ImageOptions,
} from '@sluice/contracts';
import { defaultOptions, type ConvertOptions } from '../convert/options.ts';

const qualities: Partial<Record<Quality, ConvertOptions['quality']>> = {
  [Quality.AUTO]: 'auto',
  [Quality.LOSSLESS]: 'lossless',
  [Quality.HIGH]: 'high',
  [Quality.LOW]: 'low',
};

const pageSizes: Partial<Record<PageSize, ConvertOptions['pageSize']>> = {
  [PageSize.IMAGE]: 'image',
  [PageSize.A3]: 'a3',
  [PageSize.A4]: 'a4',
  [PageSize.A5]: 'a5',
  [PageSize.LETTER]: 'letter',
  [PageSize.LEGAL]: 'legal',
};

const pageOrientations: Partial<Record<PageOrientation, ConvertOptions['pageOrientation']>> = {
  [PageOrientation.AUTO]: 'auto',
  [PageOrientation.PORTRAIT]: 'portrait',
  [PageOrientation.LANDSCAPE]: 'landscape',
};

const fits: Partial<Record<ImageFit, ConvertOptions['fit']>> = {
  [ImageFit.CONTAIN]: 'contain',
  [ImageFit.COVER]: 'cover',
  [ImageFit.SCALE_DOWN]: 'scale-down',
};

const isMargin = (mm: number): boolean => mm >= 0 && mm <= pageLimits.maxMarginMm;

/** The options of a message; what it leaves out, or names in words of a newer version or beyond its limits, is as by default. */
export function optionsOfMessage(options: ImageOptions | undefined): ConvertOptions {
  if (!options) return defaultOptions;
  const pageSize = pageSizes[options.pageSize] ?? defaultOptions.pageSize;
  return {
    quality: qualities[options.quality] ?? defaultOptions.quality,
    stripMetadata: options.stripMetadata,
    maxWidth: options.maxWidth > 0 ? options.maxWidth : undefined,
    maxHeight: options.maxHeight > 0 ? options.maxHeight : undefined,
    pageSize,
    pageOrientation: pageOrientations[options.pageOrientation] ?? defaultOptions.pageOrientation,
    marginMm: isMargin(options.marginMm) ? options.marginMm : defaultOptions.marginMm,
    fit: fits[options.fit] ?? defaultOptions.fit,
    picturesPerPage:
      pageLimits.picturesPerPage.find((n) => n === options.picturesPerPage) ?? defaultOptions.picturesPerPage,
    pageOrder: options.pageOrder === PageOrder.REVERSED ? 'reversed' : 'given',
    standard: options.standard === PdfStandard.PDFA_2B ? 'pdfa-2b' : 'none',
    title: options.title || undefined,
    author: options.author || undefined,
  };
}
