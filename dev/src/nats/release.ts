import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { keepBinary } from './cache.ts';

interface Release {
  version: string;
  /** SHA-256 of the tar.gz per platform, as pinned in the Dockerfiles of nats-io/nats-docker. */
  sha256: Readonly<Record<string, string>>;
}

// Newest first: without a wanted series the first entry is taken.
const RELEASES: readonly Release[] = [
  {
    version: '2.14.5',
    sha256: {
      'linux-amd64': '5e3b603d47c447bda1f77f9ac16dbf91c90aac4ff3681f8fbbc7201e4ed99355',
      'linux-arm64': '673a98d3faa79dde3f9ebf16d6dfac36a5f694e7ad2015e4954dd7939c85cd4c',
    },
  },
  {
    version: '2.12.15',
    sha256: {
      'linux-amd64': '58ab8131f819263897e2fc38e503e1b755b63bcafeecc7d12582487df48ca15e',
      'linux-arm64': 'b724db99fefbf8f5c808baa82819ee50350aee9734017e4a478f7e545cef3ab6',
    },
  },
];

function releasePlatform(): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  return `${process.platform}-${arch}`;
}

/** One file out of an uncompressed tar: enough of the format for a release archive (plain names, octal sizes). */
export function fileFromTar(tar: Buffer, suffix: string): Buffer | undefined {
  const block = 512;
  for (let offset = 0; offset + block <= tar.length;) {
    const name = tar.toString('latin1', offset, offset + 100).replace(/\0.*$/s, '');
    if (name === '') return undefined;
    const size = Number.parseInt(tar.toString('latin1', offset + 124, offset + 136), 8);
    if (name.endsWith(suffix)) return tar.subarray(offset + block, offset + block + size);
    offset += block + Math.ceil(size / block) * block;
  }
  return undefined;
}

/** Downloads the official release into the cache after checking its pinned SHA-256. Undefined when there is no pin for this platform; throws when the download fails. */
export async function fetchOfficialRelease(cacheDir: string, series?: string): Promise<string | undefined> {
  const release = RELEASES.find((candidate) => series === undefined || candidate.version.startsWith(`${series}.`));
  const wanted = release?.sha256[releasePlatform()];
  if (!release || !wanted) return undefined;
  const file = `nats-server-v${release.version}-${releasePlatform()}.tar.gz`;
  const url = `https://github.com/nats-io/nats-server/releases/download/v${release.version}/${file}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  if (!response.ok) throw new Error(`HTTP ${response.status} for ${url}`);
  const archive = Buffer.from(await response.arrayBuffer());
  const actual = createHash('sha256').update(archive).digest('hex');
  if (actual !== wanted) throw new Error(`${file} has SHA-256 ${actual}, expected ${wanted}`);
  const binary = fileFromTar(gunzipSync(archive), '/nats-server');
  if (!binary) throw new Error(`${file} holds no nats-server`);
  return await keepBinary(cacheDir, release.version, binary);
}
