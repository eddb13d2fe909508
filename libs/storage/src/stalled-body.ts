import type { IncomingMessage } from 'node:http';
import { StoreError } from './errors.ts';

/** How often in the time that a body may be silent it is looked at. */
const looks = 4;

/**
 * Destroys a body that falls silent while its reader waits for more. A reader that takes its time is no silence: a
 * timeout of the socket knows no difference, and would end the body of a reader that waits for a free decoder, or for a slow
 * client on the other side.
 *
 * @param silenceMs between two pieces, in milliseconds; noticed up to a quarter later
 */
export function endWhenSilent(body: IncomingMessage, silenceMs: number): void {
  let received = -1;
  let silentFor = 0;
  const timer = setInterval(() => {
    const { bytesRead } = body.socket;
    // What has arrived and is not read yet is the reader's to fetch; a whole body has no more to come.
    const waiting = body.readableLength === 0 && !body.complete;
    silentFor = waiting && bytesRead === received ? silentFor + 1 : 0;
    received = bytesRead;
    if (silentFor < looks) return;
    body.destroy(new StoreError('timeout', `GetObject: nothing more of the body came for ${silenceMs} ms`));
  }, silenceMs / looks);
  timer.unref();
  body.once('close', () => clearInterval(timer));
}
