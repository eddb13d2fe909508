import { lookup, Resolver } from 'node:dns/promises';
import type { LookupAddress } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';

/** Resolves a name to every address it has. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

const HOSTS_FILE = process.platform === 'win32' ? 'C:\\Windows\\System32\\drivers\\etc\\hosts' : '/etc/hosts';
const HOSTS_KEPT_MS = 10_000;
const QUERY = { timeout: 2_000, tries: 2 } as const;

/**
 * Resolves names with the hosts file and then by DNS queries of its own sockets. `dns.lookup` runs on libuv's four
 * threads: four names whose DNS server does not answer would hold up every file access and lookup of the process.
 *
 * @param options.system also asks the system for what DNS does not know (search domains, mDNS), one name at a time.
 */
export function createResolve(options: { readonly system: boolean }): Resolve {
  const resolver = new Resolver(QUERY);
  let hosts: { readonly readMs: number; readonly addresses: Promise<ReadonlyMap<string, LookupAddress[]>> } | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  const fromHosts = async (name: string): Promise<readonly LookupAddress[] | undefined> => {
    const nowMs = performance.now();
    if (hosts === undefined || nowMs - hosts.readMs > HOSTS_KEPT_MS) {
      hosts = { readMs: nowMs, addresses: readFile(HOSTS_FILE, 'utf8').then(addressesOf, () => new Map()) };
    }
    return (await hosts.addresses).get(name);
  };

  const fromSystem = async (name: string): Promise<readonly LookupAddress[]> => {
    const mine = turn.then(() => lookup(name, { all: true }));
    turn = mine.catch(() => undefined);
    return mine;
  };

  return async (host) => {
    const name = host.toLowerCase().replace(/\.$/, '');
    const known = await fromHosts(name);
    if (known !== undefined) return known;
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    const found = [
      ...(v4.status === 'fulfilled' ? v4.value : []).map((address) => ({ address, family: 4 })),
      ...(v6.status === 'fulfilled' ? v6.value : []).map((address) => ({ address, family: 6 })),
    ];
    if (found.length > 0) return found;
    if (options.system) return fromSystem(name);
    throw v4.status === 'rejected' ? v4.reason : new Error(`${host} has no address`);
  };
}

/** The names of a hosts file with their addresses. */
export function addressesOf(text: string): Map<string, LookupAddress[]> {
  const found = new Map<string, LookupAddress[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const family = isIP(address);
    if (family === 0) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      found.set(key, [...(found.get(key) ?? []), { address, family }]);
    }
  }
  return found;
}
