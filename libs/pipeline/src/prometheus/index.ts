/** `@sluice/pipeline/prometheus`: metrics of a pipeline with `prom-client`, which must be installed. */
export { pipelineMetrics } from './metrics.ts';
export type { PipelineMetrics, PipelineMetricsOptions, Watched } from './metrics.ts';
export { pipelineMetricNames } from './names.ts';
export { SeriesHistogram } from './series.ts';
export type { HistogramSeries } from './series.ts';
