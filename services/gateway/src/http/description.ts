import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { defaultLimits } from '../dependencies.ts';
import { createApp } from './app.ts';
import { addRoutes, type ApiDeps } from './routes.ts';

/**
 * The OpenAPI document of the API as it is with keys and everything else on. Nothing is started: the routes are added to
 * a server that does not listen.
 */
export async function describeApi(version: string): Promise<object> {
  const app = await createApp({ log: silentLogger as unknown as Logger, version, keys: true });
  const always = { version, limits: defaultLimits, unsubscribeSecret: 'signs nothing' };
  // The rest is for handlers, and none of them runs.
  await addRoutes(app, always as unknown as ApiDeps);
  await app.ready();
  return app.swagger();
}
