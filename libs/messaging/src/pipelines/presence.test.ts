import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBus, type Bus } from '../channels/bus.ts';
import { connectNats } from '../nats/connection.ts';
import { announcePresence, watchReplicas } from './presence.ts';

let server: NatsProcess;
const opened: Bus[] = [];
const connect = async (name: string): Promise<Bus> => {
  const bus = await createBus(await connectNats({ url: server.url, name }));
  opened.push(bus);
  return bus;
};
beforeAll(async () => {
  server = await startNats();
});
afterAll(async () => {
  for (const bus of opened) await bus.close();
  await server?.stop();
});

const who = (instance: string) => ({ service: 'image', instance, version: '1' });
const running = [
  { name: 'url_to_pdf', pipeline: { snapshot: () => ({ state: 'running', inFlight: 3, buffered: 2 }) } },
];

describe('the replicas', () => {
  test('are told of as they come, say how they are, and go', async () => {
    const watch = watchReplicas((await connect('watcher')).port);
    const replica = announcePresence((await connect('image-1')).port, who('image-1'));
    replica.follow({ running: running as never, reasons: () => ['no memory'] }, () => ['url_to_pdf: no space']);
    replica.observe({ type: 'message.handled', pipeline: 'url_to_pdf' } as never);
    await expect
      .poll(() => watch.replicas())
      .toMatchObject([
        {
          service: 'image',
          instance: 'image-1',
          reasons: ['no memory'],
          held: ['url_to_pdf: no space'],
          pipelines: [{ name: 'url_to_pdf', state: 'running', inFlight: 3, buffered: 2, handled: 1 }],
        },
      ]);
    const second = announcePresence((await connect('image-2')).port, who('image-2'));
    await expect.poll(() => watch.replicas().map(({ instance }) => instance)).toEqual(['image-1', 'image-2']);
    replica.leave();
    await expect.poll(() => watch.replicas().map(({ instance }) => instance)).toEqual(['image-2']);
    second.leave();
    watch.close();
  });

  test('that are no longer heard fall silent, and are forgotten after a minute', async () => {
    let nowMs = 0;
    const watch = watchReplicas((await connect('watcher')).port, () => nowMs);
    const bus = await connect('image-3');
    announcePresence(bus.port, who('image-3'));
    await expect.poll(() => watch.replicas()).toHaveLength(1);
    // As a process that was killed.
    opened.splice(opened.indexOf(bus), 1);
    await bus.close();
    nowMs += 5_000;
    expect(watch.replicas()).toMatchObject([{ instance: 'image-3', silentMs: 5_000 }]);
    nowMs += 60_000;
    expect(watch.replicas()).toEqual([]);
    watch.close();
  });

  test('are believed about their own service alone, and only what can be read', async () => {
    const watch = watchReplicas((await connect('watcher')).port);
    const { port } = await connect('image-4');
    const presence = { ...who('image-4'), startedAt: '', reasons: [], pipelines: [], leaving: false };
    port.send('control.presence.image', '{');
    port.send('control.presence.image', JSON.stringify({ ...presence, pipelines: [{}] }));
    port.send('control.presence.image', JSON.stringify({ ...presence, held: 'all of it' }));
    port.send('control.presence.image', JSON.stringify({ ...presence, service: 'gateway' }));
    port.send('control.presence.image', JSON.stringify(presence));
    // One of an earlier version says nothing of what is held.
    await expect.poll(() => watch.replicas()).toMatchObject([{ service: 'image', held: [] }]);
    watch.close();
  });
});
