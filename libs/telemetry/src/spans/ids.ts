import { INVALID_SPANID, INVALID_TRACEID } from '@opentelemetry/api';
import { randomFillSync } from 'node:crypto';

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
/** One call of the system's generator serves some hundred ids. */
const pool = Buffer.allocUnsafeSlow(4096);
let used = pool.length;

/** 32 hexadecimal digits, not all of them zero. */
export function newTraceId(): string {
  let id = INVALID_TRACEID;
  while (id === INVALID_TRACEID) id = hex(TRACE_ID_BYTES);
  return id;
}

/** 16 hexadecimal digits, not all of them zero. */
export function newSpanId(): string {
  let id = INVALID_SPANID;
  while (id === INVALID_SPANID) id = hex(SPAN_ID_BYTES);
  return id;
}

function hex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}
