import { Type } from 'typebox';
import type { App } from '../app.ts';
import { useConsole, type Console } from '../console.ts';
import { descriptions, homePage, homeText, type HomeLink } from '../home-page.ts';
import { problemPage } from '../problem-page.ts';
import { GatewayError } from '../../errors.ts';
import { problemResponses } from '../problem.ts';

/** Whether the process lives, whether it can take work, and what it offers. */
export function systemRoutes(
  app: App,
  deps: {
    readonly reasons: () => Promise<readonly string[]> | readonly string[];
    readonly held: () => readonly string[];
    readonly links: readonly HomeLink[];
    /** Shown to browsers at `/`; undefined for a page of links. */
    readonly console: Console | undefined;
  },
): void {
  const tags = ['system'];
  // Browsers ask for it beside every page; a 404 would stand in their console.
  app.get('/favicon.ico', { config: { scope: 'public' }, schema: { hide: true } }, (_request, reply) =>
    reply.code(204).send(),
  );
  app.get(
    '/healthz',
    {
      config: { scope: 'public' },
      schema: {
        operationId: 'health',
        summary: 'The process is alive',
        tags,
        response: { 200: Type.Object({ status: Type.String() }, { description: 'Alive.' }) },
      },
    },
    async () => ({ status: 'ok' }),
  );
  const ReadyView = Type.Object({
    status: Type.String(),
    reasons: Type.Array(Type.String()),
    held: Type.Array(Type.String(), {
      description: 'Steps of jobs that wait, each with its reason. Everything else goes on, so it stays ready.',
    }),
  });
  app.get(
    '/readyz',
    {
      config: { scope: 'public' },
      schema: {
        operationId: 'ready',
        summary: 'Ready to take work, or why not',
        tags,
        response: {
          200: { description: 'Ready.', content: { 'application/json': { schema: ReadyView } } },
          503: { description: 'Not ready.', content: { 'application/json': { schema: ReadyView } } },
        },
      },
    },
    async (_request, reply) => {
      const reasons = await deps.reasons();
      reply.code(reasons.length === 0 ? 200 : 503);
      return { status: reasons.length === 0 ? 'ready' : 'not ready', reasons: [...reasons], held: [...deps.held()] };
    },
  );
  app.get(
    '/problems/:code',
    {
      config: { scope: 'public' },
      schema: {
        operationId: 'explainProblem',
        summary: 'What a problem means and what to do about it',
        tags,
        params: Type.Object({ code: Type.String({ maxLength: 64 }) }),
        response: {
          200: { description: 'A page.', content: { 'text/html': { schema: Type.String() } } },
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const page = problemPage(request.params.code);
      if (page === undefined) throw new GatewayError('not_found', 'There is no such kind of problem.');
      return reply.type('text/html; charset=utf-8').send(page);
    },
  );
  const showConsole = deps.console === undefined ? undefined : useConsole(app, deps.console, deps.links);
  app.get('/', { config: { scope: 'public' }, schema: { hide: true } }, async (request, reply) => {
    const isBrowser = (request.headers.accept ?? '').includes('text/html');
    if (isBrowser && showConsole !== undefined) return showConsole(request, reply);
    return isBrowser
      ? reply.type('text/html; charset=utf-8').send(homePage(deps.links))
      : reply.type('text/plain; charset=utf-8').send(homeText(deps.links));
  });
  app.get(
    '/v1/links',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'listLinks',
        summary: 'Pages beside the API: mail, traces, dashboards',
        tags,
        response: {
          200: Type.Object(
            { links: Type.Array(Type.Object({ name: Type.String(), url: Type.String() })) },
            { description: 'As `HOME_LINKS` names them, and the descriptions of the API and of the subjects.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async () => ({ links: [...descriptions, ...deps.links] }),
  );
  app.get('/openapi.json', { config: { scope: 'public' }, schema: { hide: true } }, async () => app.swagger());
}
