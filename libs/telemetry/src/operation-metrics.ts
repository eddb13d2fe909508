import { Histogram } from 'prom-client';
import { observeWithExemplar } from './exemplar.ts';
import { DURATION_BUCKETS_SECONDS } from './metric-names.ts';
import type { MetricsRegistry } from './registry.ts';

/** Takes one finished call to another system. `operation` and `outcome` are words of few values. */
export type ObserveOperation = (operation: string, outcome: string, durationMs: number) => void;

/**
 * A histogram for the calls to another system (an object store, a mail server), by operation and outcome, with
 * exemplars of the active trace. `name` ends in `_seconds`.
 */
export function operationMetrics(registry: MetricsRegistry, name: string, help: string): ObserveOperation {
  const histogram = new Histogram({
    name,
    help,
    labelNames: ['operation', 'outcome'],
    buckets: DURATION_BUCKETS_SECONDS,
    enableExemplars: true,
    registers: [registry],
  });
  return (operation, outcome, durationMs) => {
    observeWithExemplar(histogram, { operation, outcome }, durationMs / 1000);
  };
}
