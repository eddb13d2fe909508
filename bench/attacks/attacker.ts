import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setNice } from '@sluice/dev';
import { attacks, type Target } from './attacks.ts';

/** Behind everything of the system: attackers have machines of their own. */
const NICENESS = 19;

interface Order {
  readonly name: string;
  readonly target: Omit<Target, 'signal'>;
}

/** Runs an attack in a process of its own until it is stopped. */
export function startAttack(name: string, target: Omit<Target, 'signal'>): { stop(): Promise<void> } {
  const child = fork(import.meta.filename, { stdio: 'inherit', serialization: 'advanced', detached: true });
  if (child.pid !== undefined) setNice(child.pid, NICENESS);
  const ended = once(child, 'exit');
  child.send({ name, target } satisfies Order);
  return {
    async stop() {
      child.disconnect();
      await ended;
    },
  };
}

if (import.meta.main) {
  const [{ name, target }] = (await once(process, 'message')) as [Order];
  const ending = new AbortController();
  process.once('disconnect', () => ending.abort());
  // Bytes come as a Uint8Array.
  const whole = { ...target, picture: Buffer.from(target.picture), signal: ending.signal };
  await attacks[name]?.(whole);
  process.exit(0);
}
