/**
 * API keys, from the command line: `pnpm keys create ACCOUNT [SCOPE...]`, `pnpm keys list`, `pnpm keys revoke PREFIX`.
 * Reads the NATS settings of a service from the environment, or finds the system that `pnpm dev` runs.
 */
import { UsageError } from '@sluice/cli';
import { buckets, openBucket, type Bus } from '@sluice/messaging';
import { runBusCommand } from '@sluice/service/bus-command';
import { audit } from '../audit/audit.ts';
import { createKey, listKeys, namedScopes, revokeKey, scopes } from '../accounts/api-keys.ts';

const usage = `usage: pnpm keys create ACCOUNT [SCOPE...]   make a key and show it, once
       pnpm keys list                        every live key
       pnpm keys revoke PREFIX               take back the key that begins so

  SCOPE             ${scopes.join(', ')}; all but ${[...namedScopes].join(', ')} when none is named`;

const writeDown = (bus: Bus, action: string, target: string, detail: Record<string, unknown>): Promise<void> =>
  audit(bus.port, { action, by: 'operator', target, traceId: '', detail }, Date.now);

const maxPositionals = 2 + scopes.length;
await runBusCommand({ name: 'pnpm keys', usage, options: {}, maxPositionals }, ({ positionals }) => {
  const [command, first, ...rest] = positionals;
  if (command === 'create' && first !== undefined) return (bus) => make(bus, first, rest);
  if (command === 'list') return list;
  if (command === 'revoke' && first !== undefined) return (bus) => revoke(bus, first);
  throw new UsageError('create ACCOUNT, list or revoke PREFIX is wanted');
});

async function make(bus: Bus, account: string, asked: readonly string[]): Promise<void> {
  const wanted = asked.length > 0 ? asked : scopes.filter((scope) => !namedScopes.has(scope));
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
