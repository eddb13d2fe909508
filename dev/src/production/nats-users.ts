import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSeed } from '@nats-io/nkeys';
import { newNatsIdentity } from '../nats/identity.ts';

/** Where the variables with the public keys stand in .env. */
const HEADING =
  "# A user of the broker for each service, and the operator's. These are public keys: deploy/secrets/nats/ signs.";

/** The variable that deploy/nats/users.conf reads the public key of a user from. */
const publicKeyName = (user: string): string => `NATS_${user.toUpperCase()}_NKEY`;

/**
 * Makes a seed for each user that has none in `folder`, and returns the public keys of all, by user.
 *
 * @throws when a file there is no seed of a user.
 */
export async function makeNatsUsers(
  folder: string,
  users: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const keys: Record<string, string> = {};
  for (const user of users) {
    const file = join(folder, `${user}.seed`);
    const exists = await access(file).then(
      () => true,
      () => false,
    );
    // Containers read it as another user; the folder keeps other users of this machine out.
    if (!exists) await writeFile(file, `${newNatsIdentity().seed}\n`, { mode: 0o644, flag: 'wx' });
    try {
      keys[user] = fromSeed(new TextEncoder().encode((await readFile(file, 'utf8')).trim())).getPublicKey();
    } catch (cause) {
      throw new Error(`${file} is no seed of a NATS user: delete it to have another made`, { cause });
    }
  }
  return keys;
}

/** `env` with these public keys in place of those it had, and without the passwords that earlier versions used. */
export function withPublicKeys(env: string, keys: Readonly<Record<string, string>>): string {
  const others = env.split('\n').filter((line) => line !== HEADING && !/^NATS_[A-Z_]+_(NKEY|PASSWORD)=/.test(line));
  const lines = Object.entries(keys).map(([user, key]) => `${publicKeyName(user)}=${key}`);
  return `${others.join('\n').trimEnd()}\n\n${[HEADING, ...lines].join('\n')}\n`;
}
