import { styleText } from 'node:util';

/** A colour a service keeps in the log. */
export type Colour = 'cyan' | 'magenta' | 'yellow' | 'green' | 'blue' | 'gray' | 'red';

const PALETTE: readonly Colour[] = ['cyan', 'magenta', 'yellow', 'green', 'blue'];
const WIDTH = 9;

/** Turns a service's JSON lines into lines for a person: prefix, level where it matters, message, the rest as pairs. */
export function createLogView(write: (line: string) => void): (source: string, line: string) => void {
  const colours = new Map<string, Colour>();
  return (source, line) => {
    const service = source.replace(/-\d+$/, '');
    let colour = colours.get(service);
    if (colour === undefined) {
      colour = PALETTE[colours.size % PALETTE.length] ?? 'cyan';
      colours.set(service, colour);
    }
    write(`${styleText(colour, source.padEnd(WIDTH))} ${readable(line)}`);
  };
}

const HIDDEN = new Set([
  'time',
  'level',
  'service',
  'instance',
  'msg',
  'trace_id',
  'span_id',
  'pid',
  'hostname',
  'err',
]);

/** One log line as text. What is no JSON (a crash's stack) is given through as it came. */
export function readable(line: string): string {
  const fields = parse(line);
  if (fields === undefined) return line;
  const { level, msg, err, trace_id: trace } = fields;
  const pairs = Object.entries(fields)
    .filter(([name]) => !HIDDEN.has(name))
    .map(([name, value]) => styleText('gray', `${name}=${plain(value)}`));
  if (typeof trace === 'string') pairs.push(styleText('gray', `trace=${trace.slice(0, 8)}`));
  const text = [badge(level), plain(msg), ...pairs].filter((part) => part !== '').join(' ');
  return typeof err === 'object' && err !== null && 'stack' in err ? `${text}\n${String(err.stack)}` : text;
}

function badge(level: unknown): string {
  if (level === 'warn') return styleText('yellow', 'WARN');
  if (level === 'error' || level === 'fatal') return styleText('red', level.toUpperCase());
  return '';
}

const plain = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
