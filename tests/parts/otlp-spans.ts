import { randomBytes } from 'node:crypto';

/** Traces of one span each, as OTLP's JSON. */
export function spansOtlp(
  count: number,
  span: {
    readonly failed?: boolean;
    readonly durationMs?: number;
    readonly attributes?: Readonly<Record<string, string | number>>;
  },
): { readonly traceIds: readonly string[]; readonly body: string } {
  const { failed = false, durationMs = 1, attributes = {} } = span;
  const traceIds = Array.from({ length: count }, () => randomBytes(16).toString('hex'));
  const endMs = BigInt(Date.now());
  const spans = traceIds.map((traceId) => ({
    traceId,
    spanId: randomBytes(8).toString('hex'),
    name: 'made for a test',
    kind: 1,
    startTimeUnixNano: String((endMs - BigInt(durationMs)) * 1_000_000n),
    endTimeUnixNano: String(endMs * 1_000_000n),
    status: failed ? { code: 2 } : {},
    attributes: Object.entries(attributes).map(([key, value]) => ({
      key,
      value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value },
    })),
  }));
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'made-for-a-test' } }] };
  return { traceIds, body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans }] }] }) };
}
