import { randomBytes } from 'node:crypto';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { HttpTelemetry, Logger } from '@sluice/telemetry';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { answerBrokenRequest, sendProblem, toGatewayError } from './answer-problem.ts';
import type { App } from './app-type.ts';
import { allowedMethods } from './allowed-methods.ts';
import { useReadableJson } from './readable-json.ts';
import { JobViewSchema } from '../jobs/job-view.ts';
import { GatewayError } from '../errors.ts';
import { OneATurn } from '../one-a-turn.ts';
import { ProblemSchema } from './problem.ts';
import { buildSerializer } from './serialization.ts';
import { readRestsSlowly } from './unread-bodies.ts';
import { acceptSnakeCase, buildValidator } from './validation.ts';

export type { App };

export interface AppSettings {
  readonly log: Logger;
  readonly version: string;
  readonly telemetry?: HttpTelemetry | undefined;
  /** Whether requests need an API key; then the description and its page say so. */
  readonly keys?: boolean;
}

const DOCS = '/docs';
const HEADERS_TIMEOUT_MS = 10_000;
const JSON_BODY_BYTES = 256 * 1024;
/** Characters from which on a body takes a millisecond and more to read and check: those have turns of their own. */
const LARGE_JSON = 16 * 1024;
/** More than the file descriptors and the memory of a process are good for is left to wait in the kernel's queue. */
const MAX_CONNECTIONS = 10_000;

/**
 * The HTTP server without its routes: validation, problems, traces, limits and the description.
 *
 * Node's limit on the whole time of a request stays off, as Fastify has it: a large body on a slow line may take long.
 * `useBodies` cuts those that make no progress.
 */
export async function createApp(settings: AppSettings): Promise<App> {
  const app = Fastify({
    logger: false,
    bodyLimit: JSON_BODY_BYTES,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 256 },
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: 1_000, maxHeaderSize: 16 * 1024 },
    schemaController: { compilersFactory: { buildValidator: buildValidator(), buildSerializer: buildSerializer() } },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => {
      // No hook has run for an address that cannot be read.
      nameTrace(request, reply);
      void sendProblem(reply, request, toGatewayError(error), settings.log);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.server.maxConnections = MAX_CONNECTIONS;
  app.removeContentTypeParser('text/plain');
  readRestsSlowly(app);
  acceptNoBody(app);
  app.addSchema(ProblemSchema);
  app.addSchema(JobViewSchema);
  useTraces(app, settings.telemetry);
  beginRequests(app);
  useSnakeCase(app);
  useReadableJson(app);
  refuseEncodedBodies(app);
  const methodsOf = allowedMethods(app);
  const nothingHere = (request: FastifyRequest, reply: FastifyReply): GatewayError => {
    const path = request.url.split('?', 1)[0] ?? '/';
    const methods = methodsOf(path);
    // A path may look like that of a route and not be one: a name with an encoded slash, for one.
    if (methods.length === 0 || methods.includes(request.method))
      return new GatewayError('not_found', `There is nothing at ${path.slice(0, 200)}.`);
    reply.header('allow', methods.join(', '));
    return new GatewayError('method_not_allowed', `${path} takes ${methods.join(', ')}, and not ${request.method}.`);
  };
  app.setErrorHandler((error, request, reply) =>
    // What is wrong with a body does not matter where no route takes it.
    sendProblem(
      reply,
      request,
      request.is404 ? nothingHere(request, reply) : toGatewayError(error, request),
      settings.log,
    ),
  );
  app.setNotFoundHandler((request, reply) => sendProblem(reply, request, nothingHere(request, reply), settings.log));
  const bodies = new Map<string, Bodies>();
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.requestBodies !== undefined) bodies.set(`${String(method)} ${url}`, config.requestBodies);
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sluice',
        version: settings.version,
        description:
          'Images to PDF and e-mails, as jobs that are accepted once and end once. What travels on NATS: [/asyncapi](/asyncapi).',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      // Without keys the page would show padlocks that open nothing.
      ...(settings.keys === true
        ? {
            components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', description: 'An API key.' } } },
            security: [{ apiKey: [] }],
          }
        : { security: [{}] }),
    },
    transformObject: (document) => ('openapiObject' in document ? finished(document.openapiObject, bodies) : {}),
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json.$id === 'string' ? json.$id : `def-${index}`,
    },
  });
  // The plugin's routes take no scope of their own, and a route without one is refused.
  app.addHook('onRoute', (route) => {
    if (route.url === DOCS || route.url.startsWith(`${DOCS}/`)) route.config = { ...route.config, scope: 'public' };
  });
  await app.register(swaggerUi, {
    routePrefix: DOCS,
    staticCSP: true,
    // The page sets style attributes, which no hash of a policy covers.
    transformStaticCSP: (policy) => policy.replace(/style-src [^;]*/, "style-src 'self' 'unsafe-inline'"),
    uiConfig: { tryItOutEnabled: true, displayRequestDuration: true },
  });
  letGoOfIdleConnections(app);
  return app;
}

const LET_GO_EVERY_MS = 100;

/**
 * Closing closes the connections that are idle at that moment. Those whose request is answered after it would be kept
 * for as long as their clients like, 72 s, and the end of the process with them.
 */
function letGoOfIdleConnections(app: App): void {
  app.addHook('preClose', async () => {
    const timer = setInterval(() => app.server.closeIdleConnections(), LET_GO_EVERY_MS);
    app.server.once('close', () => clearInterval(timer));
  });
}

type Bodies = Readonly<Record<string, { readonly schema: object }>>;

/**
 * What the plugin leaves to do: a custom method (`/v1/images:fromUpload`) has a colon that is no parameter, before which
 * it puts empty braces; and bodies that stay streams are described by their route's `requestBodies`.
 */
function finished<Document extends { paths?: object }>(
  document: Document,
  bodies: ReadonlyMap<string, Bodies>,
): Document {
  const paths: Record<string, Record<string, object>> = {};
  for (const [path, item] of Object.entries((document.paths ?? {}) as Record<string, Record<string, object>>)) {
    const name = path.replace('{}:', ':');
    paths[name] = { ...item };
    for (const [method, operation] of Object.entries(item)) {
      const content = bodies.get(`${method.toUpperCase()} ${name}`);
      if (content !== undefined) paths[name][method] = { ...operation, requestBody: { required: true, content } };
    }
  }
  return { ...document, paths };
}

/** The trace of a request: its server span's, or ids of its own when nothing traces. */
export function traceOf(request: FastifyRequest): { readonly traceId: string; readonly traceparent: string } {
  return request.trace;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Bodies that are no JSON, by media type, for the description. */
    requestBodies?: Bodies;
  }
  interface FastifyRequest {
    trace: { readonly traceId: string; readonly traceparent: string };
    /** The options of the route that was found; of none for an address that no route has. */
    route: FastifyRequest['routeOptions'];
  }
}

function useTraces(app: App, telemetry: HttpTelemetry | undefined): void {
  app.decorateRequest('trace');
  if (telemetry !== undefined) {
    app.addHook('onRequest', telemetry.onRequest);
    app.addHook('preValidation', telemetry.preValidation);
    app.addHook('onSend', telemetry.onSend);
    app.addHook('onResponse', telemetry.onResponse);
    app.addHook('onRequestAbort', telemetry.onRequestAbort);
  }
}

/** What every request needs first, in one hook: each hook of its own is paid for by all of them. */
function beginRequests(app: App): void {
  app.decorateRequest('route');
  app.addHook('onRequest', (request, reply, done) => {
    // Its connection was ended, and what its client had sent ahead on it comes all the same.
    if (request.raw.socket.destroyed) {
      reply.hijack();
      return;
    }
    // Fastify puts `routeOptions` together anew whenever they are read, and every hook reads them.
    request.route = request.routeOptions;
    nameTrace(request, reply);
    if (hasEmptyName(request)) done(new GatewayError('not_found', 'There is nothing at this address.'));
    else done();
  });
}

/** Gives a request its trace, and its answer the headers that name it. */
function nameTrace(request: FastifyRequest, reply: FastifyReply): void {
  let traceparent = reply.getHeader('traceresponse');
  if (typeof traceparent !== 'string') {
    const caller = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(String(request.headers['traceparent']))?.[1];
    traceparent = `00-${caller ?? randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00`;
    reply.header('traceresponse', traceparent);
    reply.header('x-trace-id', traceparent.slice(3, 35));
  }
  reply.header('x-content-type-options', 'nosniff');
  request.trace = { traceId: traceparent.slice(3, 35), traceparent };
}

/**
 * Many clients name JSON as the type of every request, those without a body too. Cancelling a job takes none, so there is
 * nothing wrong with that; where one is needed, its schema says what is missing.
 */
function acceptNoBody(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  const large = new OneATurn();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    if (body === '') done(null, undefined);
    else if (body.length < LARGE_JSON) void parse(request, body, done);
    else large.run(() => void parse(request, body, done));
  });
}

/** No route unpacks a body: one that is compressed would be read as what it is not. Calls of RPC unpack their own. */
function refuseEncodedBodies(app: App): void {
  app.addHook('preParsing', (request, _reply, payload, done) => {
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding.toLowerCase() === 'identity' || request.route.config.bodyHolds === 'counted') done(null, payload);
    else {
      const named = JSON.stringify(encoding.slice(0, 64));
      done(
        new GatewayError('unsupported_media_type', `Content-Encoding ${named} is not taken: send the body as it is.`),
      );
    }
  });
}

/** The router takes `/v1/jobs/` for a job without an id. Nothing has an empty name. */
function hasEmptyName(request: FastifyRequest): boolean {
  const params = request.params as Readonly<Record<string, string>> | undefined;
  for (const name in params) {
    if (params[name] === '' && name !== '*') return true;
  }
  return false;
}

/** Lets JSON bodies and queries name their fields as protobuf JSON allows, for every route whose schema is an object. */
function useSnakeCase(app: App): void {
  const namesOf = (schema: unknown): ReadonlySet<string> | undefined => {
    const properties = (schema as { properties?: object } | undefined)?.properties;
    const all = Object.keys(properties ?? {});
    const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    // A schema that spells out both names needs no help.
    const names = all.filter((name) => /[A-Z]/.test(name) && !all.includes(snake(name)));
    return names.length === 0 ? undefined : new Set(names);
  };
  app.addHook('onRoute', (route) => {
    const body = namesOf(route.schema?.body);
    const query = namesOf(route.schema?.querystring);
    if (body === undefined && query === undefined) return;
    const rename = (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
      if (body !== undefined) acceptSnakeCase(request.body, body);
      if (query !== undefined) acceptSnakeCase(request.query, query);
      done();
    };
    const given = route.preValidation;
    route.preValidation = [rename, ...(given === undefined ? [] : Array.isArray(given) ? given : [given])];
  });
}
