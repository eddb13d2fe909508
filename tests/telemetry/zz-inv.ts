import { startStack } from '@sluice/dev';
import { everyRoad, arrived } from './workload.ts';
import { inventory } from './inventory.ts';
const stack = await startStack({ dataDirectory: '/tmp/inv-data', fresh: true, onLine: (s, l) => { if (/"level":"(warn|error|fatal)"/.test(l)) console.error(s, l.slice(0, 300)); } });
try {
  await everyRoad(stack);
  await arrived(stack);
  const inv = await inventory(stack);
  console.log('SPANS'); for (const s of inv.spans) console.log(s);
  console.log('EDGES'); for (const s of inv.edges) console.log(s);
  console.log('METRICS'); for (const [n, m] of [...inv.metrics].toSorted(([a],[b]) => a<b?-1:1)) console.log(`${n} | ${m.type} | ${m.services.join(', ')} | ${m.help}`);
  console.log(stack.otlp.store.counts);
} finally { await stack.stop(); }
