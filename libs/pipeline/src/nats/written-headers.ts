import type { HeaderInput } from './port.ts';

/** All that nats.js does with the headers of a message it publishes: `encode` (3.4, `nats-core/lib/protocol.js`). */
export interface WrittenHeaders {
  encode(): Uint8Array;
}

const COLON = 58;
const FIRST_PRINTABLE = 33;
const LAST_PRINTABLE = 126;
const encoder = new TextEncoder();

/**
 * Headers as nats.js writes those of its own `headers()`, so that no program has to hand that function over. Undefined when
 * there are none.
 *
 * @throws {TypeError} for a name that is not printable ASCII, or a value with a line break, as that client does.
 */
export function writtenHeaders(input: HeaderInput): WrittenHeaders | undefined {
  let block = 'NATS/1.0\r\n';
  const empty = block.length;
  for (const [name, value] of Object.entries(input)) {
    checkName(name);
    for (const one of typeof value === 'string' ? [value] : value) block += `${name}: ${checkedValue(name, one)}\r\n`;
  }
  return block.length === empty ? undefined : { encode: () => encoder.encode(`${block}\r\n`) };
}

function checkName(name: string): void {
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (code >= FIRST_PRINTABLE && code <= LAST_PRINTABLE && code !== COLON) continue;
    throw new TypeError(`header ${JSON.stringify(name)}: a name is of printable ASCII characters without a colon`);
  }
}

function checkedValue(name: string, value: string): string {
  if (/[\r\n]/.test(value)) throw new TypeError(`header ${name}: a value cannot contain a line break`);
  return value.trim();
}
