import { announcePresence } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SystemView } from '../src/system/view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const system = async (): Promise<SystemView> => (await rig.call<SystemView>('/v1/system')).body;
const seen = (wanted: (view: SystemView) => boolean): Promise<SystemView> => eventually(system, wanted);
const replicasOf = ({ services }: SystemView, name: string) =>
  services.find((service) => service.name === name)?.replicas ?? [];

/** The events of the stream as they come. */
async function* streamed(): AsyncGenerator<SystemView> {
  const answer = await fetch(`${rig.gateway.url}/v1/system/stream`);
  let text = '';
  for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
      text = text.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data) as SystemView;
    }
  }
}

describe('the system as it stands', () => {
  test('has the gateway itself with its pipelines, and every stream', async () => {
    const view = await seen((now) =>
      replicasOf(now, 'gateway').some(({ state, pipelines }) => state === 'up' && pipelines.length > 0),
    );
    expect(replicasOf(view, 'gateway')).toMatchObject([{ instance: 'gateway-0', state: 'up', version: 'test' }]);
    const [gateway] = replicasOf(view, 'gateway');
    expect(gateway?.pipelines.map(({ name }) => name)).toContain('orchestrator');
    expect(view.streams.map(({ name }) => name)).toContain('IMAGES');
  });

  test('has every replica, with what it says is wrong, and streams it live', async () => {
    const image = announcePresence(rig.bus.port, { service: 'image', instance: 'image-9', version: '1' });
    image.follow({ running: [], reasons: () => ['no space on the disk'] });
    for await (const view of streamed()) {
      const [replica] = replicasOf(view, 'image');
      if (replica?.state !== 'failing') continue;
      expect(view.troubles).toContainEqual({ about: 'image image-9', detail: 'no space on the disk' });
      break;
    }
    image.leave();
    await seen((view) => replicasOf(view, 'image').length === 0);
  });

  test('says of work that no replica asks for', async () => {
    const { body } = await rig.call<{ id: string }>('/v1/emails', {
      json: { to: 'a@example.com', template: 'welcome', variables: { name: 'Ada' } },
    });
    const view = await seen(({ troubles }) => troubles.some(({ about }) => about === 'welcome_mailer'));
    const trouble = view.troubles.find(({ about }) => about === 'welcome_mailer');
    expect(trouble?.detail).toMatch(/^Messages of EMAILS that wait: 1, and no replica asks for them/);
    // Paused is a reason of its own.
    await rig.call('/v1/pipelines/welcome_mailer:pause', { method: 'POST' });
    const paused = await seen((now) => now.paused.length > 0);
    expect(paused.paused).toMatchObject([{ pipeline: 'welcome_mailer', by: 'local' }]);
    expect(paused.troubles.filter(({ about }) => about === 'welcome_mailer')).toMatchObject([
      { detail: expect.stringContaining('Paused by local') as string },
    ]);
    await rig.call('/v1/pipelines/welcome_mailer:resume', { method: 'POST' });
    await seen((now) => now.paused.length === 0);
    await rig.call(`/v1/jobs/${body.id}`, { method: 'DELETE' });
  });

  test('tells its share of each replica', async () => {
    const replica = await rig.replica();
    const view = await seen((now) => replicasOf(now, 'gateway').length === 2);
    expect(replicasOf(view, 'gateway').map(({ instance }) => instance)).toEqual(['gateway-0', 'gateway-1']);
    await replica.stop();
    await seen((now) => replicasOf(now, 'gateway').length === 1);
  });
});
