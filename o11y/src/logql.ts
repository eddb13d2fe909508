import { Matcher, parser, Selector } from '@grafana/lezer-logql';

/**
 * Why Loki refuses a LogQL expression, or undefined when it does not: a syntax error, or a stream selector in which
 * every matcher also matches the empty string (Loki answers 400 "queries require at least one regexp or equality
 * matcher that does not have an empty-compatible value").
 */
export function refusedLogQuery(expr: string): string | undefined {
  let refused: string | undefined;
  parser.parse(expr).iterate({
    enter(node) {
      if (node.type.isError) refused ??= `syntax error at ${node.from}: ${expr.slice(0, node.from)}<here>`;
      if (node.type.id === Selector) {
        const matchers = [...node.node.cursor().node.getChildren('Matchers')].flatMap((list) => matchersIn(list, expr));
        if (!matchers.some((text) => !matchesEmpty(text))) {
          refused ??= `no matcher of ${expr.slice(node.from, node.to)} excludes the empty string`;
        }
      }
    },
  });
  return refused;
}

type Node = ReturnType<typeof parser.parse>['topNode'];

function matchersIn(list: Node, expr: string): readonly string[] {
  const found: string[] = [];
  list.cursor().iterate((node) => {
    if (node.type.id === Matcher) found.push(expr.slice(node.from, node.to));
  });
  return found;
}

function matchesEmpty(matcher: string): boolean {
  const [, operator, quoted] = /^\w+\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")$/.exec(matcher) ?? [];
  if (operator === undefined || quoted === undefined) return true;
  const value = JSON.parse(quoted) as string;
  const matches = operator.endsWith('~') ? new RegExp(`^(?:${value})$`).test('') : value === '';
  return operator.startsWith('!') ? !matches : matches;
}
