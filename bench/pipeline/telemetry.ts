// The system's own telemetry, as a service wires it: metrics on every event, and the spans of sampled traces sent off.
import type { Runtime } from '@sluice/pipeline';
import { pipelineTelemetry, startTelemetry } from '@sluice/telemetry';

export function benchTelemetry(
  otlpEndpoint: string,
): Required<Pick<Runtime<undefined>, 'instrument' | 'inject' | 'observe'>> {
  const { registry } = startTelemetry({ service: 'bench', otlpEndpoint, logLevel: 'silent' });
  const { observe, instrument, inject } = pipelineTelemetry({ registry });
  return { observe, instrument, inject };
}
