import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, globSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** A PostgreSQL server on empty data, for tests and measurements. */
export interface PostgresProcess {
  /** Of the current process, whose children answer the connections. */
  readonly pid: number;
  /** A URL of an empty database of its own, a new one each time. */
  newDatabase(): Promise<string>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on the data that it has. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** The folder of PostgreSQL's programs: on the PATH, or where Debian puts the newest one; undefined without one. */
export function findPostgres(): string | undefined {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...globSync('/usr/lib/postgresql/*/bin').toSorted().toReversed(),
  ];
  return folders.find((folder) => ['initdb', 'postgres', 'createdb'].every((name) => existsSync(join(folder, name))));
}

const READY_TRIES = 300;

/** Starts a server in a folder of its own. Run by root, it runs as `postgres`: it refuses to be root. */
export async function startPostgres(bin: string): Promise<PostgresProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-postgres-'));
  const port = await freePort();
  const user: { uid?: number; gid?: number } = process.getuid?.() === 0 ? accountOf('postgres') : {};
  if (user.uid !== undefined && user.gid !== undefined) chownSync(directory, user.uid, user.gid);
  const data = join(directory, 'data');
  const run = (program: string, args: readonly string[]): void => {
    const { status, stderr } = spawnSync(join(bin, program), args, { ...user, cwd: directory, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  };
  run('initdb', ['-D', data, '-A', 'trust', '-U', 'sluice', '-E', 'UTF8', '--no-sync']);
  const host = ['-h', '127.0.0.1', '-p', `${port}`, '-U', 'sluice'];
  let server = begin();
  let databases = 0;

  function begin() {
    return spawn(
      join(bin, 'postgres'),
      [
        '-D',
        data,
        '-k',
        directory,
        '-h',
        '127.0.0.1',
        '-p',
        `${port}`,
        '-c',
        'fsync=off',
        '-c',
        'shared_buffers=128MB',
      ],
      { ...user, cwd: directory, stdio: 'ignore' },
    );
  }

  async function ready(): Promise<void> {
    for (let tries = 0; tries < READY_TRIES; tries += 1) {
      if (server.exitCode !== null) throw new Error(`postgres ended with ${server.exitCode}`);
      if (spawnSync(join(bin, 'pg_isready'), host.slice(0, 4)).status === 0) return;
      await sleep(100);
    }
    throw new Error('postgres does not get ready');
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exited = new Promise((resolve) => server.once('exit', resolve));
    server.kill(signal);
    await exited;
  }

  await ready();
  return {
    get pid() {
      return server.pid ?? 0;
    },
    newDatabase() {
      databases += 1;
      run('createdb', [...host, `history_${databases}`]);
      return Promise.resolve(`postgres://sluice@127.0.0.1:${port}/history_${databases}`);
    },
    // What a fast shutdown is to its clients: every session ends.
    kill: () => end('SIGINT'),
    async start() {
      server = begin();
      await ready();
    },
    async stop() {
      await end('SIGINT');
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function accountOf(name: string): { uid: number; gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`there is no user ${name} to run PostgreSQL as`);
  return { uid: Number(uid), gid: Number(gid) };
}
