import { BlockList, isIP, type LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { Agent, buildConnector } from 'undici';
import { createResolve, type Resolve } from './resolve.ts';

/** What may be called: `public` is https to addresses of the public Internet; `any` takes http and private ones too. */
export type Targets = 'public' | 'any';

/** The target is one that must not be called. Trying again does not change that. */
export class TargetRefused extends Error {
  override readonly name = 'TargetRefused';
  readonly code = 'target_refused';
}

// https://www.iana.org/assignments/iana-ipv4-special-registry: everything that is not of the public Internet.
const notPublicV4 = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  notPublicV4.addSubnet(network, prefix, 'ipv4');

// Of IPv6 only 2000::/3 is public: this leaves out loopback, ULA, link-local, multicast, IPv4-mapped and NAT64 at once.
// Within it, tunnels that carry an IPv4 address of the sender's choice, and space for documents.
const publicV6 = new BlockList();
publicV6.addSubnet('2000::', 3, 'ipv6');
const notPublicV6 = new BlockList();
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2620:4f:8000::', 48],
  ['3fff::', 20],
] as const)
  notPublicV6.addSubnet(network, prefix, 'ipv6');

/** Whether an address is one of the public Internet. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !notPublicV4.check(address, 'ipv4');
  return family === 6 && publicV6.check(address, 'ipv6') && !notPublicV6.check(address, 'ipv6');
}

const LEAST_FREE_PORT = 1_024;

/**
 * Why a URL must not be called, as far as its text shows; undefined when it may. A host that is a name passes: where it
 * leads is only known when the connection is made, and can be another place each time.
 */
export function refusalOf(url: URL, targets: Targets): string | undefined {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must be an http or https URL';
  if (targets === 'any') return undefined;
  if (url.protocol !== 'https:') return 'must be an https URL';
  if (url.port !== '' && Number(url.port) < LEAST_FREE_PORT) return 'names a port of some other service';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0 && !isPublicAddress(host)) return 'names an address that is not public';
  return undefined;
}

export interface AgentSettings {
  readonly targets: Targets;
  /** Whether a resolved address may be connected to; public ones unless `targets` is `any`. */
  readonly mayReach?: (address: string) => boolean;
  readonly resolve?: Resolve;
  readonly connectTimeoutMs: number;
}

/**
 * Makes the connections to addresses that callers name. Every address is judged at the moment it is connected to, and the connection goes
 * to the judged address itself: a name that answers with a public address first and a private one later (rebinding) is
 * refused when it does.
 */
export function createOutboundAgent(settings: AgentSettings): Agent {
  const { targets, connectTimeoutMs } = settings;
  const resolve = settings.resolve ?? createResolve({ system: targets === 'any' });
  const mayReach = settings.mayReach ?? (targets === 'any' ? () => true : isPublicAddress);
  const judged = callbackify(async (host: string) => {
    const addresses = await resolve(host);
    // One private address is enough: which of them is connected to is a race.
    if (addresses.length > 0 && addresses.every(({ address }) => mayReach(address))) return addresses;
    throw new TargetRefused('the host leads to an address that must not be called');
  });
  const judgedLookup: LookupFunction = (host, options, callback) =>
    judged(host, (error, addresses) => {
      if (error !== null) callback(error, [], 0);
      else if (options.all === true) callback(null, [...addresses]);
      else callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  const open = buildConnector({ lookup: judgedLookup, timeout: connectTimeoutMs });
  return new Agent({
    maxHeaderSize: 16 * 1024,
    keepAliveTimeout: 4_000,
    connections: 16,
    connect(options, callback) {
      // Node does not look up what is an address already.
      const host = options.hostname.replace(/^\[(.*)\]$/, '$1');
      if (isIP(host) !== 0 && !mayReach(host)) {
        callback(new TargetRefused('the address must not be called'), null);
        return;
      }
      open(options, callback);
    },
  });
}
