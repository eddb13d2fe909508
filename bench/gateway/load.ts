import { connect, type Socket } from 'node:net';

/** What a run of load saw. */
export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers by status; 0 for a connection that was closed instead. */
  readonly statuses: Readonly<Record<string, number>>;
}

export interface LoadRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Asked for before every request; the same bytes each time make the cheapest load. */
  readonly body?: () => string | Uint8Array;
}

/** Requests one after the other on each of so many connections: as fast as the server answers. */
export async function closedLoop(
  url: string,
  request: LoadRequest,
  options: { connections: number; seconds: number },
): Promise<LoadResult> {
  const tally = createTally();
  const untilMs = performance.now() + options.seconds * 1000;
  const beganMs = performance.now();
  const lines = await Promise.all(Array.from({ length: options.connections }, () => openLine(url)));
  await Promise.all(
    lines.map(async (line) => {
      while (performance.now() < untilMs) {
        const atMs = performance.now();
        tally.add(await line.send(request), performance.now() - atMs);
      }
      line.close();
    }),
  );
  return tally.result((performance.now() - beganMs) / 1000);
}

/**
 * Requests at a fixed pace that the server cannot slow down. Latency counts from when a request was due, so a stall is not
 * hidden by the requests that it kept from being sent.
 */
export async function openLoop(
  url: string,
  request: LoadRequest,
  options: { perSecond: number; seconds: number; connections: number },
): Promise<LoadResult> {
  const { perSecond, seconds, connections } = options;
  const tally = createTally();
  /** Undefined for one that could not be opened. */
  type Place = Line | undefined;
  const idle: Place[] = await Promise.all(Array.from({ length: connections }, () => openLine(url)));
  const waiting: ((line: Place) => void)[] = [];
  const take = async (): Promise<Line> => {
    const line = idle.length > 0 ? idle.pop() : await new Promise<Place>((resolve) => waiting.push(resolve));
    // A server closes connections on which nothing is asked for long.
    return line?.isOpen() === true ? line : openLine(url);
  };
  const release = (line: Place): void => {
    const next = waiting.shift();
    if (next === undefined) idle.push(line);
    else next(line);
  };
  const beganMs = performance.now();
  const running: Promise<void>[] = [];
  for (let sent = 0; sent < perSecond * seconds;) {
    const dueNow = Math.min(perSecond * seconds, ((performance.now() - beganMs) / 1000) * perSecond);
    for (; sent < dueNow; sent += 1) {
      const dueMs = beganMs + (sent / perSecond) * 1000;
      const one = async (): Promise<void> => {
        const line = await take().catch(() => undefined);
        const status = (await line?.send(request).catch(() => 0)) ?? 0;
        tally.add(status, performance.now() - dueMs);
        release(line);
      };
      running.push(one());
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(running);
  for (const line of idle) line?.close();
  return tally.result((performance.now() - beganMs) / 1000);
}

function createTally() {
  const statuses: Record<string, number> = {};
  const latencies: number[] = [];
  return {
    add(status: number, ms: number): void {
      statuses[status] = (statuses[status] ?? 0) + 1;
      latencies.push(ms);
    },
    result(seconds: number): LoadResult {
      latencies.sort((a, b) => a - b);
      const at = (share: number): number =>
        latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
      return { perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99), statuses };
    },
  };
}

/** An answer to one request. */
export interface LineAnswer {
  readonly status: number;
  readonly body: string;
}

/** A connection that carries one request after the other. */
export interface Line {
  ask(request: LoadRequest): Promise<LineAnswer>;
  /** The status of the answer, once its body is in. */
  send(request: LoadRequest): Promise<number>;
  isOpen(): boolean;
  close(): void;
}

/** One kept-alive connection that speaks just enough HTTP/1.1: the load must not cost more than the server it measures. */
export async function openLine(url: string): Promise<Line> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  const opened = Promise.withResolvers<void>();
  socket.once('connect', opened.resolve);
  socket.once('error', opened.reject);
  await opened.promise;
  let waiting: { resolve: (answer: LineAnswer) => void; reject: (error: Error) => void } | undefined;
  let buffered: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    const end = buffered.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = buffered.toString('latin1', 0, end);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (buffered.length < end + 4 + length) return;
    const body = buffered.toString('utf8', end + 4, end + 4 + length);
    buffered = buffered.subarray(end + 4 + length);
    waiting?.resolve({ status: Number(head.slice(9, 12)), body });
    waiting = undefined;
  });
  socket.on('error', (error) => waiting?.reject(error));
  socket.on('close', () => waiting?.reject(new Error('the server closed the connection')));
  const ask: Line['ask'] = ({ method, path, headers = {}, body }) => {
    const payload = body?.() ?? '';
    const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const size = method === 'GET' ? '' : `content-length: ${Buffer.byteLength(payload)}\r\n`;
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n${more.join('')}${size}\r\n`;
    return new Promise((resolve, reject) => {
      waiting = { resolve, reject };
      if (socket.destroyed) reject(new Error('the server closed the connection'));
      if (typeof payload === 'string') socket.write(head + payload);
      else {
        socket.write(head);
        socket.write(payload);
      }
    });
  };
  return {
    ask,
    send: async (request) => (await ask(request)).status,
    isOpen: () => socket.readyState === 'open',
    close: () => socket.destroy(),
  };
}
