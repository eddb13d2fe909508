/**
 * API keys, from the command line: `pnpm keys create ACCOUNT [SCOPE...]`, `pnpm keys list`, `pnpm keys revoke PREFIX`.
 * Reads the NATS settings of a service from the environment.
 */
import { connectService, openBucket } from '@sluice/messaging';
import { loadConfig, natsFields } from '@sluice/service';
import { API_KEYS, ApiKeyError, createKey, listKeys, revokeKey, scopes } from './api-keys.ts';

const usage = `usage: create ACCOUNT [SCOPE...]   make a key and show it, once (scopes: ${scopes.join(', ')}; all but admin by default)
       list                        every live key
       revoke PREFIX               take the key back that begins so`;

const [command, ...args] = process.argv.slice(2);
const nc = await connectService(loadConfig(natsFields), 'keys', String(process.pid));
try {
  const kv = await openBucket(nc, API_KEYS);
  const [first, ...rest] = args;
  if (command === 'create' && first !== undefined) {
    const wanted = rest.length > 0 ? rest : scopes.filter((scope) => scope !== 'admin');
    const { key, record } = await createKey(kv, first, wanted);
    console.log(`${key}\n${record.account}: ${record.scopes.join(', ')}. The key is shown this once.`);
  } else if (command === 'list') {
    const keys = await listKeys(kv);
    for (const { prefix, account, scopes, createdAt } of keys)
      console.log(`${prefix}…  ${account}  ${scopes.join(',')}  ${createdAt}`);
    console.log(`${keys.length} live keys`);
  } else if (command === 'revoke' && first !== undefined) {
    const { prefix, account } = await revokeKey(kv, first);
    console.log(`${prefix}… of ${account} is revoked`);
  } else {
    console.error(usage);
    process.exitCode = 2;
  }
} catch (error) {
  if (!(error instanceof ApiKeyError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await nc.close();
}
