const WORDS =
  /^(?:by|without|on|ignoring|group_left|group_right|and|or|unless|bool|offset|sum|avg|min|max|count|topk|bottomk|quantile|stddev|group|inf|nan)$/i;

/** The names of the metrics that a PromQL expression reads. Good for expressions that parse; ours are checked to. */
export function metricsIn(expr: string): readonly string[] {
  const bare = expr
    .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '""')
    .replace(/\{[^}]*\}/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
    .replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ');
  const names = new Set<string>();
  for (const found of bare.matchAll(/[A-Za-z_:][A-Za-z0-9_:]*/g)) {
    const before = bare.slice(0, found.index);
    const after = bare.slice(found.index + found[0].length).trimStart();
    // A function is followed by its arguments; 1e5 and 5m are numbers.
    if (after.startsWith('(') || WORDS.test(found[0]) || /[0-9.]$/.test(before)) continue;
    names.add(found[0]);
  }
  return [...names];
}

/** The family a series belongs to: what a scrape's TYPE line names. */
export function familyOf(series: string): string {
  return series.replace(/_(?:bucket|count|sum|total)$/, '');
}

/** An expression as Prometheus takes it: Grafana's macros and variables filled in. */
export function withoutMacros(expr: string): string {
  return expr.replace(/\$__rate_interval|\$__interval|\$__range|\$__auto/g, '5m').replace(/\$\{?\w+\}?/g, '.+');
}
