/** Phrases of PromQL that many panels and rules share, so that they say the same everywhere. */

/** A rate per second, summed by labels; `selector` in braces. */
export const rate = (metric: string, by: string, selector = ''): string =>
  `sum by (${by}) (rate(${metric}${selector}[$__rate_interval]))`;

/** A quantile of a histogram's `_bucket` series, by labels. */
export const quantile = (q: number, metric: string, by: string, selector = ''): string =>
  `histogram_quantile(${q}, sum by (${by === '' ? 'le' : `le, ${by}`}) (rate(${metric}_bucket${selector}[$__rate_interval])))`;

/** A share, 0 where nothing happens at all instead of no value. */
export const share = (part: string, whole: string): string => `(${part}) / clamp_min(${whole}, 0.000001)`;

/** Every gateway replica reports the same stream: the highest is the answer, not the sum. */
export const perConsumer = (metric: string, selector = ''): string =>
  `max by (stream, consumer) (${metric}${selector})`;
export const perStream = (metric: string, selector = ''): string => `max by (stream) (${metric}${selector})`;

/** A metric name alone, written by Grafana's macro for variables. */
export const inService = '{service=~"$service",instance=~"$instance"}';
