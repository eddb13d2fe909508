import type { StoredObject } from './store.ts';
import { childrenOf, parseXml, textOf } from './xml.ts';

const DAY_MS = 86_400_000;

/** The keys that a lifecycle configuration expires at this time: enabled rules with a prefix and `Expiration/Days`. */
export function expiredKeys(configuration: string, objects: Iterable<StoredObject>, now: Date): string[] {
  const rules = childrenOf(parseXml(configuration), 'Rule')
    .filter((rule) => textOf(rule, 'Status') === 'Enabled')
    .map((rule) => ({
      prefix: textOf(childrenOf(rule, 'Filter')[0], 'Prefix') ?? textOf(rule, 'Prefix') ?? '',
      days: Number(textOf(childrenOf(rule, 'Expiration')[0], 'Days')),
    }))
    .filter((rule) => rule.days > 0);
  const expired: string[] = [];
  for (const { key, modified } of objects) {
    const ageMs = now.getTime() - Date.parse(modified);
    if (rules.some((rule) => key.startsWith(rule.prefix) && ageMs >= rule.days * DAY_MS)) expired.push(key);
  }
  return expired;
}
