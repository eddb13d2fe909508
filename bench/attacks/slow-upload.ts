import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const TICK_MS = 50;
/** 9 Mbit/s. */
const BYTES_PER_MS = 9e6 / 8 / 1000;

/** How an upload went. */
export interface UploadResult {
  /** 0 when the connection was closed without an answer. */
  readonly status: number;
  readonly seconds: number;
}

/** Uploads a picture followed by zeros, which no decoder reads, over a line of 9 Mbit/s. */
export async function uploadSlowly(
  gatewayUrl: string,
  options: { readonly key: string; readonly picture: Buffer; readonly bytes: number; readonly signal: AbortSignal },
): Promise<UploadResult> {
  const { key, picture, bytes, signal } = options;
  const beganMs = performance.now();
  const answered = Promise.withResolvers<number>();
  const upload = request(
    `${gatewayUrl}/v1/images`,
    {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'image/jpeg', 'content-length': String(bytes) },
      signal,
    },
    (answer) => {
      answer.resume();
      answered.resolve(answer.statusCode ?? 0);
    },
  );
  upload.on('error', () => answered.resolve(0));
  for (let sent = 0; sent < bytes && !upload.destroyed;) {
    const due = Math.min(bytes, Math.floor((performance.now() - beganMs) * BYTES_PER_MS));
    if (due > sent) {
      const piece = Buffer.alloc(due - sent);
      picture.copy(piece, 0, Math.min(sent, picture.length), Math.min(due, picture.length));
      upload.write(piece);
      sent = due;
    }
    await sleep(TICK_MS);
  }
  upload.end();
  return { status: await answered.promise, seconds: (performance.now() - beganMs) / 1000 };
}
