import { readdir, readFile, readlink } from 'node:fs/promises';

/** The process that listens on a port: what a person needs to know to get it back. */
export interface PortHolder {
  pid: number;
  name: string;
}

/** A port that was asked for by number is taken. `code` is `port_in_use`; the message names the port and, where it can be read, the holder. */
export class PortInUseError extends Error {
  override readonly name = 'PortInUseError';
  readonly code = 'port_in_use';
  readonly port: number;
  readonly holder: PortHolder | undefined;

  constructor(port: number, purpose: string, holder: PortHolder | undefined, options?: ErrorOptions) {
    const by = holder ? `${holder.name} (pid ${holder.pid})` : 'another process';
    super(
      `port ${port} (${purpose}) is in use by ${by}; stop it or choose another port (\`pnpm dev --port-offset 1000\` moves them all)`,
      options,
    );
    this.port = port;
    this.holder = holder;
  }
}

const LISTEN = '0A';

async function listeningInodes(port: number): Promise<Set<string>> {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'latin1').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (!local || !inode || state !== LISTEN) continue;
      if (Number.parseInt(local.slice(local.indexOf(':') + 1), 16) === port) inodes.add(inode);
    }
  }
  return inodes;
}

/**
 * Who listens on this TCP port of this machine. Reads /proc, so it answers on Linux and for processes this user may
 * look into; everywhere else the answer is `undefined`, never an error.
 */
export async function findPortHolder(port: number): Promise<PortHolder | undefined> {
  const inodes = await listeningInodes(port);
  if (inodes.size === 0) return undefined;
  const pids = (await readdir('/proc').catch(() => [])).filter((entry) => /^\d+$/.test(entry));
  for (const pid of pids) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (!inode || !inodes.has(inode)) continue;
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
      return { pid: Number(pid), name: name || 'a process' };
    }
  }
  return undefined;
}
