import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** One rule of the rule files: an alert or a recording. */
export interface Rule {
  readonly file: string;
  readonly group: string;
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Omit<Rule, 'file' | 'group'>[] }[];
}

/** Where Prometheus's configuration lies. */
export const prometheusFolder = new URL('../prometheus/', import.meta.url);

/** Every rule of `o11y/prometheus/rules`. */
export function readRules(): readonly Rule[] {
  const folder = new URL('rules/', prometheusFolder);
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yml'))
    .flatMap((file) => {
      const { groups } = parse(readFileSync(new URL(file, folder), 'utf8')) as RuleFile;
      return groups.flatMap((group) => group.rules.map((rule) => ({ file, group: group.name, ...rule })));
    });
}
