import { Gauge, Registry, type GaugeConfiguration, type OpenMetricsContentType } from 'prom-client';

/** Serves OpenMetrics, the only text format with exemplars. Serve it with `registry.contentType`. */
export type MetricsRegistry = Registry<OpenMetricsContentType>;

/** A registry whose every series carries the service's name; the scraper adds the instance. */
export function createRegistry(service: string): MetricsRegistry {
  // prom-client's types know no constructor argument and bind the content type at construction.
  const registry = new Registry() as unknown as MetricsRegistry;
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  registry.setDefaultLabels({ service });
  return registry;
}

/** Adds a gauge that is read at each scrape. */
export function registerGauge<L extends string>(
  registry: MetricsRegistry,
  gauge: Omit<GaugeConfiguration<L>, 'registers'>,
): void {
  registry.registerMetric(new Gauge({ ...gauge, registers: [] }));
}
