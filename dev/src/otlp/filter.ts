import { html, type Html } from './html.ts';
import type { LogRecord } from './otlp-json.ts';
import type { TraceSummary } from './trace-store.ts';

/** What a page shows, as its address says. An absent or unusable value filters nothing. */
export interface Filter {
  readonly service: string;
  /** The least level of a log line. */
  readonly level: string;
  /** Not older than so many minutes; 0 for any age. */
  readonly minutes: number;
  /** Traces that took at least so long. */
  readonly minMs: number;
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** Reads the filter from the query of an address. */
export function filterOf(query: URLSearchParams): Filter {
  const number = (name: string): number => {
    const value = Number(query.get(name) ?? '');
    return Number.isFinite(value) && value > 0 ? value : 0;
  };
  const level = query.get('level') ?? '';
  return {
    service: query.get('service') ?? '',
    level: LEVELS.includes(level) ? level : '',
    minutes: number('minutes'),
    minMs: number('ms'),
  };
}

/** Whether a trace passes. `nowMs` is the end of the minutes that the filter counts back from. */
export function passesTrace(trace: TraceSummary, filter: Filter, nowMs: number): boolean {
  return (
    (filter.service === '' || trace.services.includes(filter.service)) &&
    (filter.minutes === 0 || trace.startMs >= nowMs - filter.minutes * 60_000) &&
    trace.durationMs >= filter.minMs
  );
}

/** Whether a log line passes. */
export function passesLog(log: LogRecord, filter: Filter, nowMs: number): boolean {
  return (
    (filter.service === '' || log.service === filter.service) &&
    (filter.minutes === 0 || log.atMs >= nowMs - filter.minutes * 60_000) &&
    LEVELS.indexOf(log.level) >= LEVELS.indexOf(filter.level)
  );
}

/** The fields of the form that all lists share. */
export function filterFields(filter: Filter, services: readonly string[]): Html {
  return html`${select('service', 'any service', services, filter.service)}
  ${select('minutes', 'any time', ['5', '15', '60'], filter.minutes === 0 ? '' : String(filter.minutes), (n) => `last ${n} min`)}`;
}

/** The field of the least level of log lines. */
export const levelField = (filter: Filter): Html =>
  select('level', 'any level', LEVELS, filter.level, (level) => `${level} and above`);

/** The field of the least duration of traces. */
export const durationField = (filter: Filter): Html =>
  select(
    'ms',
    'any duration',
    ['10', '100', '1000', '5000'],
    filter.minMs === 0 ? '' : String(filter.minMs),
    (ms) => `${ms} ms and more`,
  );

function select(
  name: string,
  any: string,
  values: readonly string[],
  chosen: string,
  label: (value: string) => string = (value) => value,
): Html {
  // A value that the address names and the list has not stays visible.
  const all = chosen === '' || values.includes(chosen) ? values : [...values, chosen];
  return html`<select name="${name}" aria-label="${name}">
    <option value="">${any}</option>
    ${all.map((value) =>
      value === chosen
        ? html`<option value="${value}" selected>${label(value)}</option>`
        : html`<option value="${value}">${label(value)}</option>`,
    )}
  </select>`;
}
