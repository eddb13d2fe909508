import type { NatsMessage } from './port.ts';

/** Where nats.js keeps a message: header block and body in one buffer, `hdr` the length of the first, -1 without one. */
interface ClientMessage {
  readonly _msg?: { readonly hdr?: unknown };
  readonly _rdata?: unknown;
}

const CR = 13;
const LF = 10;
const COLON = 58;
const FIRST_PRINTABLE = 33;
const LAST_PRINTABLE = 126;

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
