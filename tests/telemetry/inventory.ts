import type { Stack } from '@sluice/dev';

/** What a run of the system said about itself. */
export interface Inventory {
  /** `name | kind | service`, ids taken out of names. */
  readonly spans: readonly string[];
  /** `parent → child`: between services, and over a stream within one. */
  readonly edges: readonly string[];
  /** `target ← span`: links to a span other than the parent. */
  readonly links: readonly string[];
  /** Metric families, as the TYPE lines name them. */
  readonly metrics: ReadonlyMap<
    string,
    { readonly type: string; readonly help: string; readonly services: readonly string[] }
  >;
}

/** Reads the inventory of a running stack. */
export async function inventory(stack: Stack): Promise<Inventory> {
  const spans = stack.otlp.store.list().flatMap(({ traceId }) => stack.otlp.store.spans(traceId));
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const edges = new Set<string>();
  const links = new Set<string>();
  for (const span of spans) {
    const parent = byId.get(span.parentSpanId ?? '');
    if (parent !== undefined && (parent.service !== span.service || span.kind === 'consumer')) {
      edges.add(`${parent.service}: ${parent.name} → ${span.service}: ${span.name}`);
    }
    for (const link of span.links) {
      const target = byId.get(link.spanId);
      if (target !== undefined && target !== parent) {
        links.add(`${target.service}: ${target.name} ← ${span.service}: ${span.name}`);
      }
    }
  }

  const metrics = new Map<string, { type: string; help: string; services: string[] }>();
  for (const { name, opsUrl } of stack.services) {
    const text = await (await fetch(`${opsUrl}/metrics`)).text();
    for (const [, family, help] of text.matchAll(/^# HELP (\S+) (.*)$/gm)) {
      if (family === undefined) continue;
      const type = new RegExp(`^# TYPE ${family} (\\S+)$`, 'm').exec(text)?.[1] ?? '';
      const found = metrics.get(family) ?? { type, help: help ?? '', services: [] };
      const service = name.replace(/-\d+$/, '');
      if (!found.services.includes(service)) found.services.push(service);
      metrics.set(family, found);
    }
  }
  return {
    spans: [...new Set(spans.map((span) => `${span.name} | ${span.kind} | ${span.service}`))].toSorted(),
    edges: [...edges].toSorted(),
    links: [...links].toSorted(),
    metrics,
  };
}

/** The rows of the Markdown table under a heading, cells trimmed, code marks taken off. */
export function tableUnder(markdown: string, heading: string): readonly (readonly string[])[] {
  const section = markdown.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
}
