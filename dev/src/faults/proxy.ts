import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.ts';

/** What happens to the bytes of one direction. Offsets count from the start of each connection. */
export interface Toxics {
  /** Nothing gets through, not even the end of the connection: bytes wait until this is lifted. */
  blackhole?: boolean;
  /** Every byte arrives this much later; the throughput stays. */
  latencyMs?: number;
  /** The connection ends after so many bytes... */
  cutAfterBytes?: number;
  /** ...by a TCP reset instead of an orderly close. */
  reset?: boolean;
  /** The byte at this offset is flipped. */
  corruptAtByte?: number;
  bytesPerSecond?: number;
}

/** `up` is from the client to the server, `down` the way back; `both` counts where the direction has no entry of its own. */
export interface ProxyToxics {
  up?: Toxics;
  down?: Toxics;
  both?: Toxics;
}

/** A TCP proxy that can do to a connection what networks do. States: listening (up) or refusing (down); toxics apply at once, to open connections too. */
export interface FaultProxy {
  readonly port: number;
  /** How many connections are open. */
  readonly connections: number;
  /** Replaces the toxics; none lets everything pass. */
  set(toxics?: ProxyToxics): void;
  /** Resets every open connection; new ones are accepted. */
  resetAll(): void;
  /** Stops listening and resets every connection: clients get ECONNREFUSED. */
  down(): Promise<void>;
  /** Listens again on the same port. */
  up(): Promise<void>;
  close(): Promise<void>;
}

type Direction = 'up' | 'down';

const MAX_WAITING_BYTES = 1024 * 1024;
const SLICE_BYTES = 1024;

/** Waits for one of these events or the promise, and takes its listeners off again: a long transfer waits many times. */
async function firstOf(socket: Socket, events: readonly string[], other?: Promise<void>): Promise<void> {
  const waiting = new AbortController();
  const ends: Promise<unknown>[] = events.map((event) => once(socket, event, { signal: waiting.signal }));
  if (other) ends.push(other);
  try {
    await Promise.race(ends);
  } finally {
    waiting.abort();
  }
}

/** Where the proxy sends what it gets. */
export interface FaultProxyOptions {
  targetPort: number;
  targetHost?: string;
  /** A free one when absent. */
  port?: number;
}

/**
 * Starts a proxy on 127.0.0.1 in front of a TCP server.
 *
 * @example
 * const proxy = await startFaultProxy({ targetPort: nats.port });
 * const connection = await connect({ servers: `127.0.0.1:${proxy.port}` });
 * proxy.set({ down: { blackhole: true } }); // the server hears us, we hear nothing
 */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { targetPort, targetHost = '127.0.0.1' } = options;
  const pairs = new Set<readonly [Socket, Socket]>();
  let toxics: ProxyToxics = {};
  let changed = Promise.withResolvers<void>();

  const toxicsOf = (direction: Direction): Toxics => toxics[direction] ?? toxics.both ?? {};

  /** Waits while the direction is a black hole; false when the receiving side is gone by then. */
  async function passable(direction: Direction, to: Socket): Promise<boolean> {
    while (toxicsOf(direction).blackhole && !to.destroyed) {
      await firstOf(to, ['close'], changed.promise);
    }
    return !to.destroyed;
  }

  async function writePaced(to: Socket, bytes: Buffer, bytesPerSecond: number | undefined): Promise<void> {
    const step = bytesPerSecond === undefined ? bytes.length : SLICE_BYTES;
    for (let offset = 0; offset < bytes.length && !to.destroyed; offset += step) {
      const slice = bytes.subarray(offset, offset + step);
      if (!to.write(slice) && !to.destroyed) await firstOf(to, ['drain', 'close']);
      if (bytesPerSecond !== undefined) await sleep((slice.length * 1000) / bytesPerSecond);
    }
  }

  function pump(from: Socket, to: Socket, direction: Direction): void {
    let passed = 0;
    let waiting = 0;
    // One promise after the other keeps the order at any delay.
    let queue = Promise.resolve();
    const deliver = async (chunk: Buffer, arrivedAtMs: number): Promise<void> => {
      if (!(await passable(direction, to))) return;
      const { latencyMs = 0, cutAfterBytes, reset, corruptAtByte, bytesPerSecond } = toxicsOf(direction);
      const waitMs = arrivedAtMs + latencyMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      let bytes = chunk;
      if (corruptAtByte !== undefined && corruptAtByte >= passed && corruptAtByte < passed + chunk.length) {
        bytes = Buffer.from(chunk);
        bytes[corruptAtByte - passed] = (bytes[corruptAtByte - passed] ?? 0) ^ 0xff;
      }
      const cut = cutAfterBytes !== undefined && passed + bytes.length > cutAfterBytes;
      if (cut) bytes = bytes.subarray(0, Math.max(0, cutAfterBytes - passed));
      await writePaced(to, bytes, bytesPerSecond);
      passed += bytes.length;
      if (!cut) return;
      if (reset) to.resetAndDestroy();
      else to.destroySoon();
      from.destroy();
    };
    const enqueue = (work: () => Promise<void> | void): void => {
      queue = queue.then(work).catch(() => void to.destroy());
    };
    from.on('data', (chunk: Buffer) => {
      const arrivedAtMs = performance.now();
      waiting += chunk.length;
      if (waiting > MAX_WAITING_BYTES) from.pause();
      enqueue(async () => {
        await deliver(chunk, arrivedAtMs);
        waiting -= chunk.length;
        if (waiting <= MAX_WAITING_BYTES) from.resume();
      });
    });
    from.on('end', () => enqueue(async () => void ((await passable(direction, to)) && to.end())));
    // A connection that died without an end dies on the other side too, unless nothing gets there.
    from.on('close', () => enqueue(async () => void ((await passable(direction, to)) && to.destroySoon())));
    from.on('error', () => enqueue(async () => void ((await passable(direction, to)) && to.resetAndDestroy())));
  }

  // Without noDelay each small answer would wait for a delayed ACK: 40 ms that no fault asked for.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ port: targetPort, host: targetHost, allowHalfOpen: true, noDelay: true });
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const socket of pair) {
      socket.on('close', () => client.destroyed && upstream.destroyed && pairs.delete(pair));
    }
    pump(client, upstream, 'up');
    pump(upstream, client, 'down');
  });
  const resetAll = (): void => {
    for (const [client, upstream] of pairs) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  };
  const listen = async (port: number): Promise<number> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const down = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    resetAll();
    await closed;
  };
  // Reserved, so that no other process gets the port while it is down.
  const port = await listen(options.port ?? (await freePort()));
  return {
    port,
    get connections() {
      return pairs.size;
    },
    set(next = {}) {
      toxics = next;
      changed.resolve();
      changed = Promise.withResolvers<void>();
    },
    resetAll,
    down,
    async up() {
      if (!server.listening) await listen(port);
    },
    close: down,
  };
}
