import type { NatsMessage } from './port.ts';

/** Where nats.js keeps a message: header block and body in one buffer, `hdr` the length of the first, -1 without one. */
interface ClientMessage {
  readonly _msg?: { readonly hdr?: unknown };
  readonly _rdata?: unknown;
}

const CR = 13;
const LF = 10;
const COLON = 58;
const BLANK = 32;
const FIRST_PRINTABLE = 33;
const LAST_PRINTABLE = 126;
/** Of a letter; of other characters it makes others, which then look like a header that is there. */
const TO_LOWER_CASE = 0x20;

/** Looks at bytes of a block from one place up to another. */
export type HeaderTest = (block: Uint8Array, from: number, to: number) => boolean;

/**
 * Whether the client will parse the headers of a message without an error. It parses them at the first access, which
 * costs more than the rest of the engine's work on a message, and most handlers never look at them. The buffer is no
 * public part of nats.js (3.4, `nats-core/lib/msg.js`): false, which has the headers parsed, wherever it looks different.
 */
export function hasReadableHeaders(message: NatsMessage): boolean {
  const { _msg: place, _rdata: buffer } = message as ClientMessage;
  const end = place?.hdr;
  if (typeof end !== 'number' || !(buffer instanceof Uint8Array)) return false;
  return end < 0 || isReadable(buffer, end);
}

/**
 * Whether a header block has nothing but lines that end in CR LF, whose names are printable ASCII: what `MsgHdrsImpl.decode`
 * throws for is an odd name, or a CR or LF inside of a value.
 */
export function isReadable(block: Uint8Array, end: number): boolean {
  // Behind the status line.
  let inName = false;
  for (let at = 0; at < end; at++) {
    const byte = block[at] as number;
    if (byte === CR) {
      if (block[at + 1] !== LF) return false;
      at++;
      inName = true;
    } else if (byte === LF) return false;
    else if (inName) {
      if (byte === COLON) inName = false;
      else if (byte < FIRST_PRINTABLE || byte > LAST_PRINTABLE) return false;
    }
  }
  return true;
}

/**
 * The first value of a header with exactly this name, found without parsing the others, as the client would give it;
 * `null` when the message has none, undefined when that cannot be told and the client has to be asked.
 */
export function findHeader(message: NatsMessage, name: string): string | null | undefined {
  const { _msg: place, _rdata: buffer } = message as ClientMessage;
  const end = place?.hdr;
  if (typeof end !== 'number' || !(buffer instanceof Uint8Array)) return undefined;
  return end < 0 ? null : (headerIn(buffer, end, name) ?? null);
}

/** Whether a message has, for certain, no header of this name in any spelling; `name` in lower case. */
export function lacksHeader(message: NatsMessage, name: string): boolean {
  const { _msg: place, _rdata: buffer } = message as ClientMessage;
  const end = place?.hdr;
  if (typeof end !== 'number' || !(buffer instanceof Uint8Array)) return false;
  return end < 0 || placeOf(buffer, end, name, TO_LOWER_CASE) < 0;
}

/**
 * Whether the bytes of the first value of a header pass a test, which gets the block and where the value begins and ends;
 * nothing is made of them. False without such a header, undefined when the client has to be asked.
 */
export function testHeader(message: NatsMessage, name: string, test: HeaderTest): boolean | undefined {
  const { _msg: place, _rdata: buffer } = message as ClientMessage;
  const end = place?.hdr;
  if (typeof end !== 'number' || !(buffer instanceof Uint8Array)) return undefined;
  let from = end < 0 ? -1 : placeOf(buffer, end, name, 0);
  if (from < 0) return false;
  if (buffer[from] === BLANK) from += 1;
  let to = from;
  while (to < end && buffer[to] !== CR) to += 1;
  return test(buffer, from, to);
}

/** The first value of a header in a block that is readable. */
export function headerIn(block: Uint8Array, end: number, name: string): string | undefined {
  const from = placeOf(block, end, name, 0);
  if (from < 0) return undefined;
  let to = from;
  while (to < end && block[to] !== CR) to += 1;
  return Buffer.from(block.buffer, block.byteOffset + from, to - from)
    .toString('utf8')
    .trim();
}

/** Where the value of a header begins, -1 when there is none; bits of `fold` are set in what is compared. */
function placeOf(block: Uint8Array, end: number, name: string, fold: number): number {
  const { length } = name;
  for (let at = lineAfter(block, 0, end); at + length < end; at = lineAfter(block, at, end)) {
    let same = 0;
    while (same < length && ((block[at + same] as number) | fold) === (name.charCodeAt(same) | fold)) same += 1;
    if (same === length && block[at + length] === COLON) return at + length + 1;
  }
  return -1;
}

/** Where the line behind the one at `from` begins; `end` when there is none. */
function lineAfter(block: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && block[at] !== LF) at += 1;
  return Math.min(at + 1, end);
}
