import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';

/** What a run of calls saw. */
export interface CallResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Calls by their gRPC status; '0' is a success. */
  readonly statuses: Readonly<Record<string, number>>;
}

export interface CallLoad {
  /** `/package.Service/Method` */
  readonly path: string;
  /** The bytes of the next request message. */
  readonly message: () => Uint8Array;
  readonly connections: number;
  /** Calls under way at once on each connection, as `ghz --concurrency` has it. */
  readonly streams: number;
  /** In all. */
  readonly calls: number;
}

/**
 * Unary gRPC calls one after the other on each of so many streams: as fast as the server answers. Frames are written by
 * hand, because a client library would cost more than what is measured.
 */
export async function callLoop(url: string, load: CallLoad): Promise<CallResult> {
  const sessions = Array.from({ length: load.connections }, () => connect(url));
  const statuses: Record<string, number> = {};
  const tookMs: number[] = [];
  const beganMs = performance.now();
  let left = load.calls;
  const one = async (session: ClientHttp2Session): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const atMs = performance.now();
      const status = await call(session, load.path, load.message());
      tookMs.push(performance.now() - atMs);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  };
  await Promise.all(sessions.flatMap((session) => Array.from({ length: load.streams }, () => one(session))));
  const elapsedSeconds = (performance.now() - beganMs) / 1000;
  for (const session of sessions) session.close();
  tookMs.sort((a, b) => a - b);
  const at = (share: number): number => tookMs[Math.floor(tookMs.length * share)] ?? 0;
  return { perSecond: tookMs.length / elapsedSeconds, p50Ms: at(0.5), p99Ms: at(0.99), statuses };
}

const PREFIX_BYTES = 5;

function call(session: ClientHttp2Session, path: string, message: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
    });
    let status = 'none';
    stream.on('response', (headers) => {
      status = String(headers['grpc-status'] ?? status);
    });
    stream.on('trailers', (headers: IncomingHttpHeaders) => {
      status = String(headers['grpc-status'] ?? status);
    });
    stream.on('error', reject);
    stream.on('end', () => resolve(status));
    stream.resume();
    const framed = Buffer.alloc(PREFIX_BYTES + message.length);
    framed.writeUInt32BE(message.length, 1);
    framed.set(message, PREFIX_BYTES);
    stream.end(framed);
  });
}
