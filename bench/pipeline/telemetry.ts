// The system's own telemetry, as a service wires it: metrics on every event, spans exported for a tenth of the traces.
import type { Runtime } from '@sluice/pipeline';
import { pipelineTelemetry, startTelemetry } from '@sluice/telemetry';

const SAMPLE_RATIO = 0.1;

export function benchTelemetry(): Required<Pick<Runtime<undefined>, 'instrument' | 'inject' | 'observe'>> {
  const { registry } = startTelemetry({
    service: 'bench',
    sampleRatio: SAMPLE_RATIO,
    logLevel: 'silent',
    spanProcessors: [
      {
        onStart: () => undefined,
        onEnd: () => undefined,
        shutdown: async () => undefined,
        forceFlush: async () => undefined,
      },
    ],
  });
  const { observe, instrument, inject } = pipelineTelemetry({ registry });
  return { observe, instrument, inject };
}
