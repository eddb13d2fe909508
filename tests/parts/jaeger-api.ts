import { until } from '../e2e/gateway-client.ts';

/** A span as Jaeger's API shows it. */
export interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly { readonly refType: 'CHILD_OF' | 'FOLLOWS_FROM'; readonly spanID: string }[];
  readonly startTime: number;
  readonly duration: number;
  readonly tags: readonly JaegerTag[];
  readonly processID: string;
}
export interface JaegerTag {
  readonly key: string;
  readonly value: unknown;
}

export interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string; readonly tags: readonly JaegerTag[] }>>;
}

/** A trace, or undefined where Jaeger has none of that id. */
export async function jaegerTrace(jaegerUrl: string, traceId: string): Promise<JaegerTrace | undefined> {
  const answer = await fetch(`${jaegerUrl}/api/traces/${traceId}`);
  if (answer.status === 404) return undefined;
  if (!answer.ok) throw new Error(`trace ${traceId}: HTTP ${answer.status} ${await answer.text()}`);
  const { data } = (await answer.json()) as { data: readonly JaegerTrace[] };
  return data[0];
}

/** A trace with a span of that name, and with every parent: the collector hands traces on ten seconds later. */
export async function wholeTrace(jaegerUrl: string, traceId: string, lastSpan: string): Promise<JaegerTrace> {
  let found: JaegerTrace | undefined;
  await until(`Jaeger has ${lastSpan} of trace ${traceId}`, async () => {
    found = await jaegerTrace(jaegerUrl, traceId);
    const spans = found?.spans ?? [];
    const known = new Set(spans.map(({ spanID }) => spanID));
    const parents = spans.flatMap((span) => parentOf(span) ?? []);
    return spans.some(({ operationName }) => operationName === lastSpan) && parents.every((id) => known.has(id));
  });
  return found!;
}

/** The id of a span's parent. */
export function parentOf({ references }: JaegerSpan): string | undefined {
  return references.find(({ refType }) => refType === 'CHILD_OF')?.spanID;
}

/** What a span is linked to, which Jaeger shows beside its parent. */
export function linksOf({ references }: JaegerSpan): readonly string[] {
  return references.filter(({ refType }) => refType === 'FOLLOWS_FROM').map(({ spanID }) => spanID);
}
