// Postfix as Debian ships it, with a queue and a configuration of its own beside those of the machine.
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@sluice/dev';
import { hasPostgrey, librariesOf, startPostgrey } from './postgrey.ts';
import { serverProcesses } from './server-processes.ts';

export interface Postfix {
  readonly url: string;
  readonly greylists: boolean;
  /** Mails that lie in the mailbox of example.com, as a reader gets them: with the headers of the server on top. */
  mailbox(): Promise<string[]>;
  log(): Promise<string>;
  close(): Promise<void>;
}

/**
 * @param root where the package is: `/` where it is installed, or a folder that it was unpacked into, with
 * `libnss-wrapper` and the libraries that the machine lacks.
 * @returns Postfix, or why it is not run on this machine.
 * @throws when it is there and does not start.
 */
export async function startPostfix(root: string): Promise<Postfix | string> {
  const master = join(root, 'usr/lib/postfix/sbin/master');
  if (!existsSync(master)) return 'postfix is not installed';
  if (process.getuid?.() !== 0) return 'postfix starts as root alone';
  const folder = await mkdtemp(join(tmpdir(), 'sluice-postfix-'));
  await chmod(folder, 0o755);
  const libraries = librariesOf(root);
  const unpacked = root !== '/';
  const accounts = unpacked ? await writeAccounts(folder) : { passwd: '/etc/passwd', group: '/etc/group' };
  const owner = await idOf(accounts.passwd, 'postfix');
  await makeQueue(folder, owner, await idOf(accounts.group, 'postdrop'));

  const [port, greyPort] = await Promise.all([freePort(), freePort()]);
  const greylists = hasPostgrey(root);
  await writeFile(join(folder, 'etc/main.cf'), mainConfiguration({ root, folder, greyPort, greylists }));
  await writeFile(join(folder, 'etc/master.cf'), masterConfiguration(port));
  const env = {
    PATH: process.env['PATH'],
    ...(unpacked && {
      LD_LIBRARY_PATH: `${join(root, 'usr/lib/postfix')}:${libraries}`,
      LD_PRELOAD: join(libraries, 'libnss_wrapper.so'),
      NSS_WRAPPER_PASSWD: accounts.passwd,
      NSS_WRAPPER_GROUP: accounts.group,
    }),
  };
  const processes = serverProcesses({ env });
  const close = async (): Promise<void> => {
    await processes.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    if (greylists) {
      await startPostgrey(processes, { root, folder: join(folder, 'grey'), port: greyPort, user: 'postfix' });
    }
    await processes.start(port, master, ['-c', join(folder, 'etc'), '-d']);
  } catch (error) {
    const log = await readFile(join(folder, 'mail.log'), 'utf8').catch(() => '');
    await close();
    throw new Error(`postfix did not start: ${log}`, { cause: error });
  }
  return {
    url: `smtp://127.0.0.1:${port}`,
    greylists,
    async mailbox() {
      const box = join(folder, 'mail/box/new');
      const names = await readdir(box).catch(() => []);
      return Promise.all(names.map(async (name) => readFile(join(box, name), 'latin1')));
    },
    log: () => readFile(join(folder, 'mail.log'), 'utf8'),
    close,
  };
}

/** Who mail is stored as. */
const MAILBOX_ID = 65_534;

/** The users that the package would have made. */
async function writeAccounts(folder: string): Promise<{ readonly passwd: string; readonly group: string }> {
  const accounts = { passwd: join(folder, 'passwd'), group: join(folder, 'group') };
  const users = [`root:x:0:0::/:/bin/sh`, `postfix:x:65533:65533::/:/bin/sh`, `nobody:x:65534:65534::/:/bin/sh`];
  const groups = ['root:x:0:', 'postfix:x:65533:', 'postdrop:x:65532:', 'nogroup:x:65534:'];
  await writeFile(accounts.passwd, `${users.join('\n')}\n`);
  await writeFile(accounts.group, `${groups.join('\n')}\n`);
  return accounts;
}

/** The number of a user or group. */
async function idOf(file: string, name: string): Promise<number> {
  const line = (await readFile(file, 'utf8')).split('\n').find((each) => each.startsWith(`${name}:`));
  return Number(line?.split(':')[2]);
}

/** As `postfix check` would make it. */
async function makeQueue(folder: string, owner: number, postdrop: number): Promise<void> {
  const queues = ['incoming', 'active', 'deferred', 'defer', 'bounce', 'corrupt', 'hold', 'flush', 'saved', 'private'];
  for (const name of ['etc', 'queue', 'queue/pid']) await mkdir(join(folder, name));
  for (const name of ['data', 'grey', ...queues.map((queue) => `queue/${queue}`)]) {
    await mkdir(join(folder, name));
    await chown(join(folder, name), owner, owner);
  }
  for (const name of ['queue/public', 'queue/maildrop']) {
    await mkdir(join(folder, name), { mode: 0o710 });
    await chown(join(folder, name), owner, postdrop);
  }
  await mkdir(join(folder, 'mail'));
  await chown(join(folder, 'mail'), MAILBOX_ID, MAILBOX_ID);
}

interface Setup {
  readonly root: string;
  readonly folder: string;
  readonly greyPort: number;
  readonly greylists: boolean;
}

/** Takes mail for example.com; recipients of some names meet what postmasters set up. */
function mainConfiguration({ root, folder, greyPort, greylists }: Setup): string {
  const listed = '554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using bl.example.net';
  const grey = greylists ? '{/^grey/ greylisted}, ' : '';
  return `compatibility_level = 3.6
queue_directory = ${folder}/queue
command_directory = ${join(root, 'usr/sbin')}
daemon_directory = ${join(root, 'usr/lib/postfix/sbin')}
shlib_directory = ${join(root, 'usr/lib/postfix')}
data_directory = ${folder}/data
mail_owner = postfix
setgid_group = postdrop
import_environment = MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
maillog_file = ${folder}/mail.log
maillog_file_prefixes = ${folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.com
mynetworks =
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.com
virtual_mailbox_base = ${folder}/mail
virtual_mailbox_maps = regexp:{{!/^gone/ box/}}
virtual_uid_maps = static:${MAILBOX_ID}
virtual_gid_maps = static:${MAILBOX_ID}
smtpd_error_sleep_time = 0
smtpd_relay_restrictions = reject_unauth_destination
smtpd_restriction_classes = greylisted
greylisted = check_policy_service inet:127.0.0.1:${greyPort}
smtpd_recipient_restrictions = check_recipient_access regexp:{${grey}{/^listed/ ${listed}}}
header_checks = regexp:{{/^X-Campaign: spam/ REJECT looks like spam}}
`;
}

const masterConfiguration = (port: number): string => `127.0.0.1:${port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`;
