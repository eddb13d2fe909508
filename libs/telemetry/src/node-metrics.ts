import { performance } from 'node:perf_hooks';
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { collectDefaultMetrics } from 'prom-client';
import { metricNames } from './metric-names.ts';
import { registerGauge, type MetricsRegistry } from './registry.ts';

/**
 * The process and its machine: prom-client's defaults (event loop lag, GC, heap, handles, CPU, memory) and what they
 * lack: how busy the event loop is, how far the heap is from its limit, and the machine's load and memory.
 */
export function nodeMetrics(registry: MetricsRegistry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 10 });

  let last = performance.eventLoopUtilization();
  gauge(
    registry,
    metricNames.eventLoopUtilization,
    'Share of time the event loop was busy since the last scrape.',
    () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
  );
  gauge(registry, metricNames.heapLimit, 'The heap size at which the process dies.', () => {
    return getHeapStatistics().heap_size_limit;
  });
  gauge(registry, metricNames.systemLoad, 'Load average of the machine over one minute.', () => loadavg()[0] ?? 0);
  gauge(registry, metricNames.systemMemoryFree, 'Memory of the machine that is free.', freemem);
  gauge(registry, metricNames.systemMemoryTotal, 'Memory of the machine.', totalmem);
  gauge(registry, metricNames.systemCpus, 'Processors this process may use.', availableParallelism);
}

function gauge(registry: MetricsRegistry, name: string, help: string, read: () => number): void {
  registerGauge(registry, {
    name,
    help,
    collect() {
      this.set(read());
    },
  });
}
