import { asyncApiDocument, topology } from '@sluice/messaging';
import type { App } from '../app.ts';
import { asyncApiPage } from '../asyncapi-page.ts';

/** `GET /asyncapi`, a page of every subject, and `/asyncapi.json`, the same for programs. */
export function asyncApiRoutes(app: App, version: string): void {
  const document = asyncApiDocument(version, topology);
  const page = asyncApiPage(document);
  const options = { config: { scope: 'public' }, schema: { hide: true } } as const;
  app.get('/asyncapi.json', options, async () => document);
  app.get('/asyncapi', options, async (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      // Its one style sheet is inside.
      .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
      .send(page),
  );
}
