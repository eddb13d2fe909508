import type { AsyncApiDocument } from '@sluice/messaging';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { problems } from '../src/http/problem.ts';
import { startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

describe('the description of the API', () => {
  test('is OpenAPI 3.1 that a linter has nothing to say about', async () => {
    const source = await (await fetch(`${rig.gateway.url}/openapi.json`)).text();
    const found = await lintFromString({
      source,
      absoluteRef: 'openapi.json',
      config: await createConfig({
        extends: ['recommended'],
        // Asking for the PDF answers with a redirect, asking for the health with nothing a client could do wrong.
        rules: { 'operation-2xx-response': 'off', 'operation-4xx-response': 'off' },
      }),
    });
    expect(found.map(({ ruleId, message, location }) => `${ruleId}: ${message} at ${location[0]?.pointer}`)).toEqual(
      [],
    );
  });

  test('names the media types of an upload', async () => {
    const document = (await (await fetch(`${rig.gateway.url}/openapi.json`)).json()) as {
      paths: Record<string, { post: { requestBody: { content: object } } }>;
    };
    expect(Object.keys(document.paths['/v1/images']!.post.requestBody.content)).toContain('multipart/form-data');
  });

  test('comes with a page to try it', async () => {
    for (const path of ['/docs', '/docs/', '/docs/static/index.html', '/favicon.ico']) {
      expect((await fetch(`${rig.gateway.url}${path}`)).ok, path).toBe(true);
    }
    const page = await (await fetch(`${rig.gateway.url}/docs`)).text();
    const assets = [...page.matchAll(/(?:src|href)="\.?(\/[^"]+)"/g)].map(([, path]) => path ?? '');
    expect(assets.length).toBeGreaterThan(3);
    for (const path of assets) {
      const url = new URL(path.startsWith('/docs') ? path : `/docs${path}`, rig.gateway.url);
      expect((await fetch(url)).status, path).toBe(200);
    }
    const shown = (await (await fetch(`${rig.gateway.url}/docs/json`)).json()) as { openapi: string };
    expect(shown.openapi).toBe('3.1.0');
  });

  test('comes with a page and a document of every subject on NATS, which load nothing from elsewhere', async () => {
    const document = (await (await fetch(`${rig.gateway.url}/asyncapi.json`)).json()) as AsyncApiDocument;
    expect(document.asyncapi).toBe('3.0.0');
    const answer = await fetch(`${rig.gateway.url}/asyncapi`);
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
    const page = await answer.text();
    for (const { address } of Object.values(document.channels)) expect(page).toContain(`<code>${address}</code>`);
    const anchors = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    for (const [, id] of page.matchAll(/href="#([^"]+)"/g)) expect(anchors).toContain(id);
    expect(page).not.toMatch(/(?:src|href)="https?:/);
    expect(await (await fetch(`${rig.gateway.url}/docs/json`)).text()).toContain('/asyncapi');
  });

  test('asks for a key only where keys are on', async () => {
    interface Description {
      readonly security?: readonly object[];
      readonly components?: { readonly securitySchemes?: object };
    }
    const open = (await (await fetch(`${rig.gateway.url}/openapi.json`)).json()) as Description;
    expect(open.security).toEqual([{}]);
    expect(open.components?.securitySchemes).toBeUndefined();
    const closed = await rig.replica({ settings: { auth: 'keys' } });
    const asked = (await (await fetch(`${closed.url}/openapi.json`)).json()) as Description;
    expect(asked.security).toEqual([{ apiKey: [] }]);
  });

  test('has a page for every kind of problem', async () => {
    for (const code of Object.keys(problems)) {
      const { status, text } = await rig.call(`/problems/${code}`);
      expect(status).toBe(200);
      expect(text).toContain(code);
    }
    expect((await rig.call('/problems/nonsense')).status).toBe(404);
  });
});
