import { stripVTControlCharacters, styleText } from 'node:util';

/** A colour a service keeps in the log. */
export type Colour = 'cyan' | 'magenta' | 'yellow' | 'green' | 'blue' | 'gray' | 'red';

const PALETTE: readonly Colour[] = ['cyan', 'magenta', 'yellow', 'green', 'blue'];
const WIDTH = 9;
/** Of a line in all; longer ones go on in the next line, under the message. */
const COLUMNS = 120;
/** A list that is longer as text is shown as its number of entries: the names of 27 streams say nothing to a person. */
const LIST_COLUMNS = 60;

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
    write(`${styleText(colour, source.padEnd(WIDTH))} ${readable(line, COLUMNS - WIDTH - 1, ' '.repeat(WIDTH + 1))}`);
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

/**
 * One log line as text, in lines of `columns` characters that go on after `indent`. What is not JSON (a crash's stack)
 * is given through as it came.
 */
export function readable(line: string, columns = Infinity, indent = ''): string {
  const fields = parse(line);
  if (fields === undefined) return line;
  const { level, msg, err, trace_id: trace } = fields;
  const pairs = Object.entries(fields)
    .filter(([name]) => !HIDDEN.has(name))
    .map(([name, value]) => styleText('gray', `${name}=${plain(value)}`));
  if (typeof trace === 'string') pairs.push(styleText('gray', `trace=${trace.slice(0, 8)}`));
  const text = wrap(
    [badge(level), plain(msg), ...pairs].filter((part) => part !== ''),
    columns,
    indent,
  );
  return typeof err === 'object' && err !== null && 'stack' in err ? `${text}\n${String(err.stack)}` : text;
}

/** Words are not broken: one that is longer than a line, such as a URL, can still be copied. */
function wrap(words: readonly string[], columns: number, indent: string): string {
  let text = '';
  let used = 0;
  for (const word of words) {
    const length = stripVTControlCharacters(word).length;
    const fits = used === 0 || used + 1 + length <= columns;
    text += used === 0 ? word : fits ? ` ${word}` : `\n${indent}${word}`;
    used = fits ? used + length + (used === 0 ? 0 : 1) : length;
  }
  return text;
}

function badge(level: unknown): string {
  if (level === 'warn') return styleText('yellow', 'WARN');
  if (level === 'error' || level === 'fatal') return styleText('red', level.toUpperCase());
  return '';
}

function plain(value: unknown): string {
  if (typeof value === 'string') return value;
  const text = JSON.stringify(value);
  return Array.isArray(value) && text.length > LIST_COLUMNS ? `${value.length} entries` : text;
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
