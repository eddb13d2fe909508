/**
 * API keys, from the command line: `pnpm keys create ACCOUNT [SCOPE...]`, `pnpm keys list`, `pnpm keys revoke PREFIX`.
 * Reads the NATS settings of a service from the environment.
 */
import { buckets, openBucket, type Bus } from '@sluice/messaging';
import { audit } from '../audit/audit.ts';
import { runCommand, UsageError } from './command-line.ts';
import { createKey, listKeys, revokeKey, scopes } from '../accounts/api-keys.ts';

const usage = `usage: create ACCOUNT [SCOPE...]   make a key and show it, once (scopes: ${scopes.join(', ')}; all but admin by default)
       list                        every live key
       revoke PREFIX               take the key back that begins so`;

const writeDown = (bus: Bus, action: string, target: string, detail: Record<string, unknown>): Promise<void> =>
  audit(bus.port, { action, by: 'operator', target, traceId: '', detail }, Date.now);

await runCommand('keys', usage, () => {
  const [command, first, ...rest] = process.argv.slice(2);
  if (command === 'create' && first !== undefined) return (bus) => make(bus, first, rest);
  if (command === 'list') return list;
  if (command === 'revoke' && first !== undefined) return (bus) => revoke(bus, first);
  throw new UsageError('');
});

async function make(bus: Bus, account: string, asked: readonly string[]): Promise<void> {
  const wanted = asked.length > 0 ? asked : scopes.filter((scope) => scope !== 'admin');
  const kv = await openBucket(bus.nc, buckets.apiKeys);
  await writeDown(bus, 'key.create', account, { scopes: wanted });
  const { key, record } = await createKey(kv, account, wanted);
  console.log(`${key}\n${record.account}: ${record.scopes.join(', ')}. The key is shown this once.`);
}

async function list(bus: Bus): Promise<void> {
  const keys = await listKeys(await openBucket(bus.nc, buckets.apiKeys));
  for (const { prefix, account, scopes, createdAt } of keys)
    console.log(`${prefix}…  ${account}  ${scopes.join(',')}  ${createdAt}`);
  console.log(`${keys.length} live keys`);
}

async function revoke(bus: Bus, asked: string): Promise<void> {
  const kv = await openBucket(bus.nc, buckets.apiKeys);
  await writeDown(bus, 'key.revoke', asked, {});
  const { prefix, account } = await revokeKey(kv, asked);
  console.log(`${prefix}… of ${account} is revoked`);
}
