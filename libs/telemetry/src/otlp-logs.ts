import { SeverityNumber, type Attributes, type Logger as OtelLogger } from '@opentelemetry/api';
import type { LineSink } from './log.ts';

const severities: Readonly<Record<string, SeverityNumber>> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
  fatal: SeverityNumber.FATAL,
};
// These have a place of their own in the record or its resource.
const placed = new Set(['time', 'level', 'msg', 'service', 'instance', 'trace_id', 'span_id']);

/**
 * Sends written lines on as OTLP log records. It reads the finished, redacted line instead of the caller's fields, so
 * that what is shipped and what stands on stdout can never differ. pino writes in the caller's turn: the record takes
 * trace and span from the context that is active then.
 */
export function otlpLineSink(logger: OtelLogger): LineSink {
  return {
    write(line) {
      let fields: Record<string, unknown>;
      try {
        fields = JSON.parse(line) as Record<string, unknown>;
      } catch {
        return; // Not a line of ours; stdout has it.
      }
      const { level, msg } = fields;
      const attributes: Attributes = {};
      for (const [name, value] of Object.entries(fields)) {
        if (!placed.has(name)) attributes[name] = attributeValue(value);
      }
      logger.emit({
        timestamp: new Date(String(fields['time'])),
        severityText: typeof level === 'string' ? level : '',
        severityNumber: severities[String(level)] ?? SeverityNumber.UNSPECIFIED,
        body: typeof msg === 'string' ? msg : '',
        attributes,
      });
    },
  };
}

/** Loki and the viewer read flat values: what is nested goes as JSON text. */
function attributeValue(value: unknown): string | number | boolean {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  return JSON.stringify(value) ?? '';
}
