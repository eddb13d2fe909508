import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { App } from './app-type.ts';
import type { HomeLink } from './home-page.ts';
import { mailPreviewRoute } from './mail-preview.ts';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

interface File {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly gzip: Buffer;
  readonly br: Buffer;
}

/** The built console, held in memory: it is a few hundred kilobytes, and what is served is what was there at the start. */
export interface Console {
  readonly page: File;
  /** By name, each with a digest of its content in it. */
  readonly assets: ReadonlyMap<string, File>;
}

/** Reads the console that `apps/console/build.ts` made; undefined when it was not built. */
export async function readConsole(directory: string): Promise<Console | undefined> {
  try {
    const page = await readFileOf(join(directory, 'index.html'));
    const names = await readdir(join(directory, 'assets'));
    const known = names.filter((name) => extname(name) in types);
    const files = await Promise.all(
      known.map(async (name) => [name, await readFileOf(join(directory, 'assets', name))] as const),
    );
    return { page, assets: new Map(files) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function readFileOf(path: string): Promise<File> {
  const plain = await readFile(path);
  return {
    type: types[extname(path)] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`,
    plain,
    gzip: await promisify(gzip)(plain),
    br: await promisify(brotliCompress)(plain),
  };
}

/**
 * What the page may do. Scripts and styles are its own files alone: nothing inline, nothing evaluated. Besides the gateway
 * it asks the linked pages whether they answer.
 */
const policyOf = (links: readonly HomeLink[]): string => {
  const origins = new Set(links.flatMap(({ url }) => (URL.canParse(url) ? [new URL(url).origin] : [])));
  return [
    `default-src 'none'`,
    `script-src 'self'`,
    `style-src 'self'`,
    `img-src 'self' blob: data:`,
    `connect-src ${["'self'", ...origins].join(' ')}`,
    `frame-src 'self' blob:`,
    `form-action 'self'`,
    `base-uri 'none'`,
    `frame-ancestors 'none'`,
  ].join('; ');
};

/** Serves the files of the console, and answers with its page where a browser asks for `/`. */
export function useConsole(
  app: App,
  built: Console,
  links: readonly HomeLink[],
): (request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  const policy = policyOf(links);
  app.get<{ Params: { file: string } }>(
    '/assets/:file',
    { config: { scope: 'public' }, schema: { hide: true } },
    (request, reply) => {
      const file = built.assets.get(request.params.file);
      if (file === undefined) throw new GatewayError('not_found', 'The console has no such file: reload its page.');
      // The name changes with the content.
      reply.header('cache-control', 'public, max-age=31536000, immutable');
      return send(request, reply, file);
    },
  );
  mailPreviewRoute(app);
  return (request, reply) => {
    reply.header('cache-control', 'no-cache').header('content-security-policy', policy);
    reply.header('referrer-policy', 'no-referrer').header('x-frame-options', 'DENY');
    return send(request, reply, built.page);
  };
}

function send(request: FastifyRequest, reply: FastifyReply, file: File): FastifyReply {
  reply.header('etag', file.etag).header('vary', 'accept, accept-encoding');
  if (request.headers['if-none-match'] === file.etag) return reply.code(304).send();
  reply.type(file.type);
  const accepted = request.headers['accept-encoding'] ?? '';
  if (/\bbr\b/.test(accepted)) return reply.header('content-encoding', 'br').send(file.br);
  if (/\bgzip\b/.test(accepted)) return reply.header('content-encoding', 'gzip').send(file.gzip);
  return reply.send(file.plain);
}
