import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const mail = async (to = 'ada@example.com'): Promise<string> =>
  (await rig.call<JobView>('/v1/emails', { json: { to, template: 'welcome', variables: { name: 'Ada' } } })).body.id;
const ended = (id: string) =>
  eventually(
    async () => (await rig.call<JobView>(`/v1/jobs/${id}`)).body,
    ({ state }) => state === 'succeeded',
  );

describe('who asks again', () => {
  test('and has seen it already gets 304 and no body, until something has changed', async () => {
    const id = await mail();
    await eventually(
      async () => (await rig.call<{ jobs: JobView[] }>('/v1/jobs')).body.jobs,
      (jobs) => jobs.some((job) => job.id === id),
    );
    const paths = [`/v1/jobs/${id}`, `/v1/jobs/${id}/events`, '/v1/jobs?limit=5'];
    const tags = new Map<string, string>();
    // What the orchestrator reports comes a moment after the job.
    for (const path of paths) {
      const again = await eventually(
        async () => {
          const first = await rig.call(path);
          const known = first.headers.get('etag') ?? '';
          tags.set(path, known);
          expect(first.headers.get('cache-control')).toBe('private, no-cache');
          return rig.call(path, { headers: { 'if-none-match': `"other", W/${known}` } });
        },
        ({ status }) => status === 304,
      );
      expect(again.text).toBe('');
      expect(again.headers.get('etag')).toBe(tags.get(path));
      expect((await rig.call(path, { headers: { 'if-none-match': '*' } })).status).toBe(304);
      expect((await rig.call(path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200);
    }
    const workers = await rig.workers();
    for (const path of paths) {
      const changed = await eventually(
        () => rig.call(path, { headers: { 'if-none-match': tags.get(path)! } }),
        ({ status }) => status !== 304,
      );
      expect(changed.status).toBe(200);
      expect(changed.headers.get('etag')).not.toBe(tags.get(path));
    }
    await ended(id);
    await workers.stop();
  });

  test('for the stream of a job that has ended is told that this was all', async () => {
    const workers = await rig.workers();
    const id = await mail();
    await ended(id);
    const resumed = (from?: string) =>
      fetch(
        `${rig.gateway.url}/v1/jobs/${id}/stream`,
        from === undefined ? {} : { headers: { 'last-event-id': from } },
      );
    const idsIn = (text: string): string[] => [...text.matchAll(/^id: (.*)$/gm)].map(([, id = '']) => id);
    // Until the worker has said its last word, too, there is something new behind the end.
    const last = await eventually(
      async () => {
        const ids = idsIn(await (await resumed()).text());
        return resumed(ids.at(-1));
      },
      ({ status }) => status === 204,
    );
    expect(await last.text()).toBe('');
    expect((await resumed('1-0')).status).toBe(200);
    expect((await resumed('of something else')).status).toBe(200);
    expect((await fetch(`${rig.gateway.url}/v1/jobs/${id}/stream`, { method: 'HEAD' })).status).toBe(405);
    await workers.stop();
  });
});

test('jobs are found by the address that was given, however its domain is written', async () => {
  const id = await mail('ada@b\u00fccher.example');
  for (const address of ['ada@b\u00fccher.example', 'ada@xn--bcher-kva.example', 'Ada@B\u00dcCHER.example']) {
    const query = new URLSearchParams({ recipient: address });
    await eventually(
      async () => (await rig.call<{ jobs: JobView[] }>(`/v1/jobs?${query.toString()}`)).body.jobs.map((job) => job.id),
      ([found]) => found === id,
    );
  }
});
