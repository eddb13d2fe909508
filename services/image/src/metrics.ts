import { DURATION_BUCKETS_SECONDS, observeWithExemplar, type Telemetry } from '@sluice/telemetry';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Conversion } from './convert/convert.ts';
import type { DecoderCounts } from './convert/decode/decoder-pool.ts';

/** The metrics of the image service, by name. Dashboards and alert rules are checked against what is emitted. */
export const imageMetricNames = {
  conversions: 'image_conversions_total',
  duration: 'image_conversion_duration_seconds',
  pages: 'image_pages_total',
  inputBytes: 'image_input_bytes_total',
  outputBytes: 'image_output_bytes_total',
  decoders: 'image_decoders',
  decodersWaiting: 'image_decoder_queue',
  decodersEnded: 'image_decoders_ended_total',
  storeDuration: 'object_store_operation_duration_seconds',
} as const;

/** What the service counts. */
export interface ImageMetrics {
  succeeded(conversion: Conversion, durationMs: number): void;
  failed(code: string, durationMs: number): void;
  /** One operation on the object store, retries included. */
  stored(operation: string, outcome: string, durationMs: number): void;
}

/** Registers the metrics. The decoders are counted at each scrape. */
export function createImageMetrics(registry: Telemetry['registry'], decoders: () => DecoderCounts): ImageMetrics {
  const registers = [registry];
  const names = imageMetricNames;
  const conversions = new Counter({
    name: names.conversions,
    help: 'Jobs that ended, by the way their pixels took and by outcome ("succeeded", or why not)',
    labelNames: ['path', 'outcome'],
    registers,
  });
  const duration = new Histogram({
    name: names.duration,
    help: 'One conversion, from the first byte read to the last byte stored',
    labelNames: ['path'],
    buckets: DURATION_BUCKETS_SECONDS,
    enableExemplars: true,
    registers,
  });
  const storeDuration = new Histogram({
    name: names.storeDuration,
    help: 'One operation on the object store, retries included',
    labelNames: ['operation', 'outcome'],
    buckets: DURATION_BUCKETS_SECONDS,
    enableExemplars: true,
    registers,
  });
  const pages = new Counter({
    name: names.pages,
    help: 'Pages drawn, by source format and path',
    labelNames: ['format', 'path'],
    registers,
  });
  const inputBytes = new Counter({ name: names.inputBytes, help: 'Bytes of pictures converted', registers });
  const outputBytes = new Counter({ name: names.outputBytes, help: 'Bytes of PDFs written', registers });
  void new Gauge({
    name: names.decoders,
    help: 'Decoder processes, by what they are doing',
    labelNames: ['state'],
    registers,
    collect() {
      const { busy, idle } = decoders();
      this.set({ state: 'busy' }, busy);
      this.set({ state: 'idle' }, idle);
    },
  });
  void new Gauge({
    name: names.decodersWaiting,
    help: 'Pictures waiting for a decoder',
    registers,
    collect() {
      this.set(decoders().waiting);
    },
  });
  void new Counter({
    name: names.decodersEnded,
    help: 'Decoder processes ended: for the memory or time a picture took, by a crash, or retired in good order',
    labelNames: ['why'],
    registers,
    collect() {
      this.reset();
      for (const [why, count] of Object.entries(decoders().ended)) this.inc({ why }, count);
    },
  });

  return {
    succeeded(conversion, durationMs) {
      conversions.inc({ path: conversion.path, outcome: 'succeeded' });
      observeWithExemplar(duration, { path: conversion.path }, durationMs / 1_000);
      for (const { format, path } of conversion.pictures) pages.inc({ format, path });
      inputBytes.inc(conversion.inputBytes);
      outputBytes.inc(conversion.outputBytes);
    },
    failed(code, durationMs) {
      conversions.inc({ path: 'none', outcome: code });
      observeWithExemplar(duration, { path: 'none' }, durationMs / 1_000);
    },
    stored(operation, outcome, durationMs) {
      observeWithExemplar(storeDuration, { operation, outcome }, durationMs / 1_000);
    },
  };
}
