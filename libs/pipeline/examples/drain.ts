import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('stock');
import { definePipeline } from '@sluice/pipeline';

const stock = definePipeline({
  name: 'stock',
  sources: [{ stream: 'orders', consumer: 'stock' }],
  decode: decodeOrder,
  flow: { expiresMs: 1000, idleHeartbeatMs: 300 },
  handle: async () => undefined,
});
const running = await stock.start({ nats, deps: undefined });
await place('stock', { id: 'a', customer: 'c' });
await workedOff();
// #region shown
await running.pause('stock-taking'); // stops pulling, waits for handlers, releases what waits
running.resume();

console.log(running.health().ok, running.snapshot().state); // progress, not connection: for a readiness probe

async function shutDown(): Promise<void> {
  const { settled, released, abandoned } = await running.drain({ timeoutMs: 20_000 });
  console.log(`drained: ${settled} settled, ${released} released, ${abandoned} abandoned`);
  await close(); // the connection comes last
}
process.once('SIGTERM', () => void shutDown());
running.done.catch(() => process.exit(1)); // closed for good, or every handler hung: let the supervisor restart us
// #endregion
process.kill(process.pid, 'SIGTERM');
await running.done;
// prints: true running
// prints: drained: 0 settled, 0 released, 0 abandoned
