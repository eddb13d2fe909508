// A service whose every request makes ten spans: that of the request, and nine of work inside, three deep. With `otlpUrl`
// they are made and sent; without it nothing is started, and the same code makes none.
import { setImmediate as turn } from 'node:timers/promises';
import type { AddressInfo } from 'node:net';
import { httpTelemetry, startTelemetry, withSpan } from '@sluice/telemetry';
import Fastify from 'fastify';

export interface RequestServerOrder {
  readonly otlpUrl?: string;
}

/** What the exporter counted, after everything was sent. */
export interface SpanReport {
  readonly offered: number;
  readonly exported: number;
  readonly dropped: number;
}

const { otlpUrl } = JSON.parse(process.argv[2] ?? '{}') as RequestServerOrder;
const telemetry =
  otlpUrl === undefined
    ? undefined
    : startTelemetry({
        service: 'bench',
        otlpEndpoint: otlpUrl,
        logTo: { write: (line) => process.stderr.write(line) },
      });
const app = Fastify({ logger: false });
if (telemetry !== undefined) {
  const http = httpTelemetry({ registry: telemetry.registry });
  app.addHook('onRequest', http.onRequest);
  app.addHook('preValidation', http.preValidation);
  app.addHook('onSend', http.onSend);
  app.addHook('onResponse', http.onResponse);
  app.addHook('onRequestAbort', http.onRequestAbort);
}

/** As work is: spans inside of spans, and each has to wait. */
async function work(depth: number): Promise<void> {
  const attributes = { 'rpc.system': 'aws-api', 'rpc.service': 'S3', 'rpc.method': 'GetObject', depth };
  await withSpan('S3 GetObject', { kind: 'client', attributes }, async () => {
    await turn();
    if (depth > 1) await work(depth - 1);
  });
}

app.get('/v1/work', async () => {
  for (let call = 0; call < 3; call += 1) await work(3);
  return { ok: true };
});
await app.listen({ host: '127.0.0.1', port: 0 });

process.on('message', () => {
  void report().then((counts) => process.send?.(counts));
});
process.once('disconnect', () => process.exit(0));
process.send?.({ url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` });

async function report(): Promise<SpanReport> {
  await telemetry?.shutdown();
  const text = (await telemetry?.registry.metrics()) ?? '';
  const value = (name: string): number => Number(new RegExp(`^${name}\\S* (\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return {
    offered: value('telemetry_items_offered_total\\{signal="traces"'),
    exported: value('telemetry_items_exported_total\\{signal="traces",result="ok"'),
    dropped: value('telemetry_spans_dropped_total'),
  };
}
