// Exim and postgrey as Debian ships them, unpacked into a temporary folder and run as they are, without being installed.
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, NoDebianPackageError, withDebianPackage } from '@sluice/dev';
import { verifyDkim } from './dkimpy.ts';
import { librariesOf, startPostgrey } from './postgrey.ts';
import { serverProcesses } from './server-processes.ts';

export interface RealMailServers {
  readonly eximUrl: string;
  /** The `<=` lines of Exim's main log: mails it took. */
  taken(): Promise<string[]>;
  /** Exim's rejections. */
  rejected(): Promise<string>;
  /** Verifies the DKIM signature of each mail by dkimpy. `record` is the TXT record of the key. */
  verifyDkim(mails: readonly string[], record: string): Promise<boolean[]>;
  close(): Promise<void>;
}

/** The unprivileged user, as Debian numbers it: where the suite runs as root, the servers must not. */
const UNPRIVILEGED = 65_534;
const isRoot = process.getuid?.() === 0;
const uid = isRoot ? UNPRIVILEGED : (process.getuid?.() ?? UNPRIVILEGED);
const gid = isRoot ? UNPRIVILEGED : (process.getgid?.() ?? UNPRIVILEGED);

/**
 * @returns the servers, or why their packages cannot be had on this machine.
 * @throws when the packages are there and the servers do not start.
 */
export async function startRealMailServers(): Promise<RealMailServers | string> {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile('/etc/os-release', 'utf8').catch(() => ''))?.[1];
  if (release === undefined) return 'this is no Debian';
  const folder = await mkdtemp(join(tmpdir(), 'sluice-mta-'));
  await chmod(folder, 0o755);
  const closing = Promise.withResolvers<void>();
  const started = Promise.withResolvers<RealMailServers | string>();
  const names = [
    'exim4-daemon-light',
    'libidn12',
    'libnss-wrapper',
    'postgrey',
    'libnet-server-perl',
    'libio-multiplex-perl',
    'libnetaddr-ip-perl',
    'libnet-dns-perl',
    'libberkeleydb-perl',
    release === 'bookworm' ? 'libdb5.3' : 'libdb5.3t64',
    'python3-dkim',
  ];
  const unpacked = withDebianPackage({ name: names, suite: release, workDir: folder }, async (root) => {
    // The servers run as another user, and the folder was made for this one alone.
    await chmod(join(root, '..'), 0o755);
    const servers = await run(root, join(folder, 'run'));
    started.resolve({
      ...servers,
      async close() {
        await servers.close();
        closing.resolve();
        await unpacked;
        await rm(folder, { recursive: true, force: true });
      },
    });
    await closing.promise;
    return true;
  });
  unpacked.then(
    () => started.resolve('apt has no Debian archive here'),
    (error: unknown) =>
      error instanceof NoDebianPackageError ? started.resolve(error.message) : started.reject(error),
  );
  return started.promise.catch(async (error: unknown) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
}

async function run(root: string, folder: string): Promise<RealMailServers> {
  const libraries = librariesOf(root);
  const [eximPort, greyPort] = await Promise.all([freePort(), freePort()]);
  for (const each of ['', 'spool', 'log', 'grey']) {
    await mkdir(join(folder, each), { recursive: true });
    await chown(join(folder, each), uid, gid);
  }
  const files = {
    'exim.conf': eximConfiguration(folder, eximPort, greyPort),
    // Exim looks its own user up by name, and refuses to start without one.
    passwd: `root:x:0:0::/:/bin/sh\nDebian-exim:x:${uid}:${gid}::/:/bin/sh\npostgrey:x:${uid}:${gid}::/:/bin/sh\n`,
    group: `root:x:0:\nDebian-exim:x:${gid}:\npostgrey:x:${gid}:\n`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const exim = join(root, 'usr/sbin/exim4');
  // As packed it is set-uid, and the loader then ignores where the libraries are.
  await chmod(exim, 0o755);

  const env = {
    PATH: process.env['PATH'],
    LD_LIBRARY_PATH: libraries,
    LD_PRELOAD: join(libraries, 'libnss_wrapper.so'),
    NSS_WRAPPER_PASSWD: join(folder, 'passwd'),
    NSS_WRAPPER_GROUP: join(folder, 'group'),
  };
  const processes = serverProcesses({ env, uid, gid });
  try {
    await startPostgrey(processes, { root, folder: join(folder, 'grey'), port: greyPort, user: 'postgrey' });
    await processes.start(eximPort, exim, ['-C', join(folder, 'exim.conf'), '-bdf', '-oP', join(folder, 'exim.pid')]);
  } catch (error) {
    await processes.close();
    throw error;
  }
  const logOf = (name: string): Promise<string> => readFile(join(folder, 'log', name), 'utf8').catch(() => '');
  return {
    eximUrl: `smtp://127.0.0.1:${eximPort}`,
    taken: async () => (await logOf('mainlog')).split('\n').filter((line) => line.includes(' <= ')),
    rejected: () => logOf('rejectlog'),
    verifyDkim: (mails, record) => verifyDkim(mails, record, root),
    close: () => processes.close(),
  };
}

/** Takes mail for example.com; recipients of some names meet what postmasters set up. */
function eximConfiguration(folder: string, port: number, greyPort: number): string {
  const request = ['protocol_state=RCPT', 'client_address=$sender_host_address', 'client_name=localhost'];
  const policy = `request=smtpd_access_policy\\n${request.join('\\n')}\\nsender=$sender_address\\nrecipient=$local_part@$domain\\n\\n`;
  return `primary_hostname = mx.example.com
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
tls_advertise_hosts =
host_lookup =
message_size_limit = 60K
acl_smtp_rcpt = check_rcpt
acl_smtp_data = check_data
queue_only
begin acl
check_rcpt:
  deny    domains = ! example.com
          message = relay not permitted
  deny    local_parts = ^gone
          message = 5.1.1 User unknown
  deny    local_parts = ^nosuch
          message = Unrouteable address
  deny    local_parts = ^listed
          message = 5.7.1 Service unavailable; Client host blocked using bl.example.net
  drop    local_parts = ^dropped
          message = 421 4.7.0 closing
  defer   local_parts = ^grey
          condition = \${if match{\${readsocket{inet:127.0.0.1:${greyPort}}{${policy}}{5s}{ }}}{DEFER}}
          message = 4.7.1 Greylisted, see your logs
  accept
check_data:
  deny    condition = \${if match{$recipients}{^content}}
          message = 5.7.1 This message looks like spam
  accept
begin routers
none:
  driver = redirect
  data = :blackhole:
`;
}
