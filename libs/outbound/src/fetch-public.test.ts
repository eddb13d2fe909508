import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchPublic, type FetchSettings } from './fetch-public.ts';
import { createOutboundAgent, type AgentSettings } from './targets.ts';

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(
    servers.splice(0).map((server) => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    }),
  );
});

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const settings = (agent: Partial<AgentSettings> = {}, more: Partial<FetchSettings> = {}): FetchSettings => {
  const targets = more.targets ?? 'any';
  return {
    agent: createOutboundAgent({ targets, connectTimeoutMs: 5_000, ...agent }),
    targets,
    accept: 'image/*',
    maxRedirects: 3,
    timeoutMs: 5_000,
    ...more,
  };
};
const at = (port: number, path = '/'): URL => new URL(`http://127.0.0.1:${port}${path}`);

describe('a URL', () => {
  it('is opened as a stream, without credentials or cookies', async () => {
    let seen: Record<string, unknown> = {};
    const port = await serve((request, response) => {
      seen = request.headers;
      response.writeHead(200, { 'set-cookie': 'a=b' }).end('picture');
    });
    const { body } = await fetchPublic(at(port), settings());
    expect((await buffer(body)).toString()).toBe('picture');
    expect(Object.keys(seen)).not.toEqual(expect.arrayContaining(['cookie']));
    expect(seen).toMatchObject({ accept: 'image/*', 'accept-encoding': 'identity' });
    expect(seen['authorization']).toBeUndefined();
  });

  it('states its size where the server does', async () => {
    const port = await serve((_, response) => response.writeHead(200, { 'content-length': 7 }).end('picture'));
    const { body, sizeBytes } = await fetchPublic(at(port), settings());
    body.on('error', () => {}).destroy();
    expect(sizeBytes).toBe(7);
  });

  it.each([
    [404, false],
    [403, false],
    [410, false],
    [429, true],
    [500, true],
    [503, true],
    [304, false],
  ])('that answers %i fails, temporarily: %s', async (status, temporary) => {
    const port = await serve((_, response) => response.writeHead(status).end());
    await expect(fetchPublic(at(port), settings())).rejects.toMatchObject({ code: 'fetch_failed', temporary });
  });

  it('without a server fails temporarily', async () => {
    const port = await serve(() => {});
    const [server] = servers.splice(0);
    await new Promise((resolve) => server!.close(resolve));
    await expect(fetchPublic(at(port), settings())).rejects.toMatchObject({ code: 'fetch_failed', temporary: true });
  });

  it('whose server never answers fails temporarily', async () => {
    const port = await serve(() => {});
    const hasty = settings({}, { timeoutMs: 200 });
    await expect(fetchPublic(at(port), hasty)).rejects.toMatchObject({ code: 'fetch_failed', temporary: true });
  });
});

describe('a redirect', () => {
  it('is followed, also to a path of the same host', async () => {
    const port = await serve((request, response) => {
      if (request.url === '/') response.writeHead(302, { location: '/there' }).end();
      else response.end('picture');
    });
    expect((await buffer((await fetchPublic(at(port), settings())).body)).toString()).toBe('picture');
  });

  it('is followed so often and no more', async () => {
    let asked = 0;
    const port = await serve((_, response) => {
      asked++;
      response.writeHead(302, { location: '/again' }).end();
    });
    await expect(fetchPublic(at(port), settings())).rejects.toMatchObject({ code: 'fetch_failed', temporary: false });
    expect(asked).toBe(4);
  });

  it.each(['file:///etc/passwd', 'ftp://127.0.0.1/', 'http://user:secret@127.0.0.1/'])(
    'to %s is refused',
    async (location) => {
      const port = await serve((_, response) => response.writeHead(302, { location }).end());
      await expect(fetchPublic(at(port), settings())).rejects.toMatchObject({ code: 'target_refused' });
    },
  );

  it('to an address that must not be called is refused when it is connected to', async () => {
    let reached = 0;
    const inner = await serve((_, response) => {
      reached++;
      response.end('secret');
    });
    const outer = await serve((_, response) => {
      response.writeHead(302, { location: `http://inner.example:${inner}/` }).end();
    });
    // Both lie on this machine: 127.0.0.1 stands for a public address, 127.0.0.2 for a private one.
    const agent = {
      mayReach: (address: string) => address === '127.0.0.1',
      resolve: async (host: string) => [{ address: host === 'inner.example' ? '127.0.0.2' : '127.0.0.1', family: 4 }],
    };
    const url = new URL(`http://outer.example:${outer}/`);
    await expect(fetchPublic(url, settings(agent))).rejects.toMatchObject({ code: 'target_refused' });
    expect(reached).toBe(0);
  });
});

describe('outside dev', () => {
  it.each([
    'http://example.com/a.png',
    'https://127.0.0.1/a.png',
    'https://[::1]/a.png',
    'https://169.254.169.254/latest/meta-data/',
    'https://10.0.0.1/a.png',
    'https://user@example.com/a.png',
    'https://example.com:22/a.png',
  ])('%s is refused before anything is sent', async (url) => {
    const refused = fetchPublic(new URL(url), settings({}, { targets: 'public' }));
    await expect(refused).rejects.toMatchObject({ code: 'target_refused' });
  });
});
