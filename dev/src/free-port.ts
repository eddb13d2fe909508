import { createServer } from 'node:net';
import { findPortHolder, PortInUseError } from './port-holder.ts';

/** A port nobody listens on now. */
export function freePort(): Promise<number> {
  return listenOnce(0);
}

/**
 * Makes sure that a port can be had, before anything is started.
 *
 * @throws {PortInUseError} naming the port, what it is for and who has it.
 */
export async function assertPortFree(port: number, purpose: string): Promise<void> {
  try {
    await listenOnce(port);
  } catch (cause) {
    throw new PortInUseError(port, purpose, await findPortHolder(port), { cause });
  }
}

async function listenOnce(port: number): Promise<number> {
  const server = createServer();
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen(port, '127.0.0.1', listening.resolve);
  await listening.promise;
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
}
