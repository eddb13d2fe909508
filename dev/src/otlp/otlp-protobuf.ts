/**
 * OTLP as protobuf, read into the shape of its JSON mapping, of which `otlp-json.ts` makes flat records. Fields that are
 * not named here are skipped; a body that is cut short or is no protobuf throws.
 */

type Json = Record<string, unknown>;
type Read = (bytes: Buffer) => unknown;

interface Field {
  readonly name: string;
  readonly read: Read | 'uint' | 'int' | 'double' | 'fixed64' | 'bool';
  readonly repeated?: true;
}

type Fields = Readonly<Record<number, Field>>;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const text: Read = (bytes) => bytes.toString('utf8');
const hex: Read = (bytes) => bytes.toString('hex');
const base64: Read = (bytes) => bytes.toString('base64');
const message =
  (fields: () => Fields): Read =>
  (bytes) =>
    readMessage(bytes, fields());
const list = (name: string, fields: () => Fields): Field => ({ name, read: message(fields), repeated: true });

const anyValue: Fields = {
  1: { name: 'stringValue', read: text },
  2: { name: 'boolValue', read: 'bool' },
  3: { name: 'intValue', read: 'int' },
  4: { name: 'doubleValue', read: 'double' },
  5: { name: 'arrayValue', read: message(() => ({ 1: list('values', () => anyValue) })) },
  6: { name: 'kvlistValue', read: message(() => ({ 1: list('values', () => keyValue) })) },
  7: { name: 'bytesValue', read: base64 },
};
const keyValue: Fields = {
  1: { name: 'key', read: text },
  2: { name: 'value', read: message(() => anyValue) },
};
const event: Fields = {
  1: { name: 'timeUnixNano', read: 'fixed64' },
  2: { name: 'name', read: text },
  3: list('attributes', () => keyValue),
};
const link: Fields = {
  1: { name: 'traceId', read: hex },
  2: { name: 'spanId', read: hex },
  3: { name: 'traceState', read: text },
  4: list('attributes', () => keyValue),
  6: { name: 'flags', read: 'uint' },
};
const status: Fields = {
  2: { name: 'message', read: text },
  3: { name: 'code', read: 'uint' },
};
const span: Fields = {
  1: { name: 'traceId', read: hex },
  2: { name: 'spanId', read: hex },
  3: { name: 'traceState', read: text },
  4: { name: 'parentSpanId', read: hex },
  5: { name: 'name', read: text },
  6: { name: 'kind', read: 'uint' },
  7: { name: 'startTimeUnixNano', read: 'fixed64' },
  8: { name: 'endTimeUnixNano', read: 'fixed64' },
  9: list('attributes', () => keyValue),
  10: { name: 'droppedAttributesCount', read: 'uint' },
  11: list('events', () => event),
  12: { name: 'droppedEventsCount', read: 'uint' },
  13: list('links', () => link),
  14: { name: 'droppedLinksCount', read: 'uint' },
  15: { name: 'status', read: message(() => status) },
  16: { name: 'flags', read: 'uint' },
};
const logRecord: Fields = {
  1: { name: 'timeUnixNano', read: 'fixed64' },
  2: { name: 'severityNumber', read: 'uint' },
  3: { name: 'severityText', read: text },
  5: { name: 'body', read: message(() => anyValue) },
  6: list('attributes', () => keyValue),
  9: { name: 'traceId', read: hex },
  10: { name: 'spanId', read: hex },
  11: { name: 'observedTimeUnixNano', read: 'fixed64' },
};
const resource: Field = {
  name: 'resource',
  read: message(() => ({ 1: list('attributes', () => keyValue) })),
};
const scope: Field = {
  name: 'scope',
  read: message(() => ({ 1: { name: 'name', read: text }, 2: { name: 'version', read: text } })),
};

/** An ExportTraceServiceRequest. */
export const readTraces = (body: Buffer): unknown =>
  readMessage(body, {
    1: list('resourceSpans', () => ({
      1: resource,
      2: list('scopeSpans', () => ({ 1: scope, 2: list('spans', () => span) })),
    })),
  });

/** An ExportLogsServiceRequest. */
export const readLogRecords = (body: Buffer): unknown =>
  readMessage(body, {
    1: list('resourceLogs', () => ({
      1: resource,
      2: list('scopeLogs', () => ({ 1: scope, 2: list('logRecords', () => logRecord) })),
    })),
  });

function readMessage(bytes: Buffer, fields: Fields): Json {
  const found: Json = {};
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new RangeError('a number of the protobuf body has no end');
  };
  const slice = (size: number): Buffer => {
    if (at + size > bytes.length) throw new RangeError('the protobuf body is cut short');
    at += size;
    return bytes.subarray(at - size, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = fields[tag >> 3];
    const type = tag & 7;
    let value: unknown;
    if (type === VARINT) value = numberOf(varint(), field);
    else if (type === FIXED64) {
      const eight = slice(8);
      value = field?.read === 'double' ? eight.readDoubleLE() : String(eight.readBigUInt64LE());
    } else if (type === FIXED32) value = slice(4).readUInt32LE();
    else if (type === LENGTH_DELIMITED) {
      const inside = slice(Number(varint()));
      value = typeof field?.read === 'function' ? field.read(inside) : undefined;
    } else throw new RangeError(`the protobuf body has a field of the unknown type ${type}`);
    if (field === undefined) continue;
    if (field.repeated !== true) found[field.name] = value;
    else if (Array.isArray(found[field.name])) (found[field.name] as unknown[]).push(value);
    else found[field.name] = [value];
  }
  return found;
}

/** As JSON has it: 64-bit numbers as text. */
function numberOf(value: bigint, field: Field | undefined): unknown {
  if (field?.read === 'bool') return value !== 0n;
  return field?.read === 'int' ? String(BigInt.asIntN(64, value)) : Number(value);
}
