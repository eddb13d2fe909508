// Writes o11y/grafana/dashboards from o11y/src/dashboards: `pnpm gen:dashboards`. With --check it writes nothing and
// fails when a file is not what it would write.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dashboards } from './dashboards/index.ts';
import { toGrafana } from './dashboard.ts';

const folder = new URL('../grafana/dashboards/', import.meta.url);
const wanted = new Map(
  dashboards.map((each) => [`${each.uid}.json`, `${JSON.stringify(toGrafana(each), undefined, 2)}\n`]),
);
const stale: string[] = [];

for (const name of readdirSync(folder)) {
  if (!name.endsWith('.json') || wanted.has(name)) continue;
  stale.push(name);
  if (!process.argv.includes('--check')) rmSync(new URL(name, folder));
}
for (const [name, text] of wanted) {
  let found = '';
  try {
    found = readFileSync(new URL(name, folder), 'utf8');
  } catch {
    // Not there yet.
  }
  if (found === text) continue;
  stale.push(name);
  if (!process.argv.includes('--check')) writeFileSync(new URL(name, folder), text);
}
if (process.argv.includes('--check') && stale.length > 0) {
  process.stderr.write(`not current, run pnpm gen:dashboards: ${stale.join(', ')}\n`);
  process.exitCode = 1;
}
