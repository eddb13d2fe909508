// `pnpm test:first-hour`: a stranger's first hour. Every command of README.md, in its order, and the requests of
// the pages it links, in a clone of HEAD that has
// nothing installed, in a path with a space, as a user who is not root; then again without a network.
import { parseCommand } from '@sluice/cli';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandsOf, PAGES_WITH_REQUESTS, requestsOf, SKIPPED } from './docs/commands.ts';

const USAGE = `usage: pnpm test:first-hour [--port-offset N] [--keep]

Runs every command of README.md in a fresh clone of HEAD: as user "nobody" when started by root, then again without a
network. Needs git and, for the part without a network, Linux's unshare.

  --port-offset N   added to every port of the commands (default 0)
  --keep            leave the clone for a look
  --help            this`;

const { values } = parseCommand({
  name: 'pnpm test:first-hour',
  usage: USAGE,
  options: { 'port-offset': { type: 'string', default: '0' }, keep: { type: 'boolean', default: false } },
});
const offset = Number(values['port-offset']);
const root = join(import.meta.dirname, '..');
const isRoot = process.getuid?.() === 0;
/** The user `nobody` of every Linux. */
const UNPRIVILEGED_USER = 65_534;
const PORTS = [8080, 8025, 50_051, 4318];

/** What a command must have printed, besides ending with 0. */
const EXPECTED: readonly (readonly [RegExp, RegExp])[] = [
  [/^npx pnpm demo/, /Done in/],
  [/^npx pnpm dev/, /Ready after/],
  [/^npx pnpm check/, /[1-9]\d* passed, 0 failed/],
  [/^npx pnpm trace/, /gateway +POST \/v1\/images/],
  [/^npx pnpm client/, /sent [a-z-]+ with the key/],
  [/^curl .*Prefer: wait/, /"state": ?"succeeded"/],
  [/^curl .*\/stream$/, /"succeeded"/],
  [/^curl .*\/(images|users)$/, /"id": ?"job_/],
];

const folder = mkdtempSync(join(tmpdir(), 'sluice-first-hour-'));
const clone = join(folder, 'a stranger', 'sluice');
const home = join(folder, 'home');
let passed = 0;
let failed = 0;

try {
  mkdirSync(join(folder, 'a stranger'));
  mkdirSync(home);
  must('git', ['clone', '--quiet', root, clone]);
  if (isRoot) must('chown', ['-R', `${UNPRIVILEGED_USER}:${UNPRIVILEGED_USER}`, folder]);
  chmodSync(folder, 0o755);
  const page = (file: string): string => readFileSync(join(clone, file), 'utf8');
  const readme = commandsOf(page('README.md'));
  const requests = PAGES_WITH_REQUESTS.flatMap((file) => requestsOf(page(file)));
  const blocks = [...new Set([...readme, ...requests])];
  await pass('online', blocks, false);
  if (canLeaveTheNetwork()) {
    await pass('offline', blocks, true);
    chmodSync(home, 0o555);
    await readOnlyHome();
    chmodSync(home, 0o755);
  } else {
    console.log('skipped: offline (unshare -n is not permitted here)');
  }
} finally {
  if (values.keep) console.log(`kept: ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

/** Every command once, in one shell, so that a variable set by one is there for the next. */
async function pass(name: string, commands: readonly string[], offline: boolean): Promise<void> {
  console.log(`\n== ${name}`);
  const shell = openShell(offline);
  try {
    for (const command of commands) {
      const reason = SKIPPED.find(([pattern]) => pattern.test(command))?.[1];
      if (reason !== undefined) console.log(`skip  ${command} (${reason})`);
      else if (command.startsWith('npx pnpm dev')) await startDev(shell, command);
      else report(command, await shell.run(moved(command)));
    }
    report('npx pnpm --version, inside a library', await shell.run('(cd libs/pipeline && npx pnpm --version)'));
  } finally {
    await shell.close();
  }
}

async function readOnlyHome(): Promise<void> {
  console.log('\n== offline, with a home that cannot be written');
  const shell = openShell(true);
  report('npx pnpm demo', await shell.run('npx pnpm demo'));
  const empty = await shell.run(`XDG_CACHE_HOME="$HOME/absent" PATH="$PATH" npx pnpm demo 2>&1 || true`);
  const text = /XDG_CACHE_HOME|nats-server .* \(PATH\)/;
  report('npx pnpm demo, without a cache', { ...empty, code: text.test(empty.output) ? 0 : 1 }, true);
  await shell.close();
}

/** The system stays up for the commands that follow. */
async function startDev(shell: Shell, command: string): Promise<void> {
  const started = await shell.run(
    `${moved(command)} > "$HOME/dev.log" 2>&1 & for i in $(seq 600); do ` +
      `grep -q "Ready after" "$HOME/dev.log" && break; kill -0 $! || break; sleep 1; done; cat "$HOME/dev.log"`,
  );
  report(command, started);
}

/** The command with its ports moved by the offset. */
function moved(command: string): string {
  if (offset === 0) return command;
  if (command.startsWith('npx pnpm dev')) return `${command} --port-offset ${offset}`;
  return PORTS.reduce((text, port) => text.replaceAll(`localhost:${port}`, `localhost:${port + offset}`), command);
}

interface Result {
  readonly code: number;
  readonly output: string;
}

interface Shell {
  run(command: string): Promise<Result>;
  /** Ends what runs in it, the system included. */
  close(): Promise<void>;
}

/** A shell in the clone with an environment of a stranger: nothing of this process's but PATH and the certificates. */
function openShell(offline: boolean): Shell {
  const env = {
    HOME: home,
    PATH: withoutOurs(process.env['PATH'] ?? ''),
    LANG: 'C.UTF-8',
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => /^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE)$/.test(name)),
    ),
  };
  const user = ['setpriv', `--reuid=${UNPRIVILEGED_USER}`, `--regid=${UNPRIVILEGED_USER}`, '--clear-groups'];
  // A network of its own with nothing but the loopback.
  const network = isRoot ? ['unshare', '-n'] : ['unshare', '-rn'];
  const words = [
    ...(offline ? [...network, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'] : []),
    ...(isRoot ? user : []),
    'bash',
  ];
  const [program = 'bash', ...args] = words;
  const child: ChildProcess = spawn(program, args, { cwd: clone, env, stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  let count = 0;
  return {
    async run(command) {
      output = '';
      count += 1;
      const mark = `__end_${count}_`;
      child.stdin?.write(`${command}\nprintf '\\n${mark}%s\\n' $?\n`);
      const end = new RegExp(`\\n${mark}(\\d+)\\n`);
      while (!end.test(output) && child.exitCode === null) await once(child.stdout!, 'data');
      const [whole = '', code = '1'] = end.exec(output) ?? [];
      return { code: Number(code), output: output.replace(whole, '\n').trim() };
    },
    async close() {
      child.stdin?.end('kill $(jobs -p) 2>/dev/null; wait\n');
      await once(child, 'close');
    },
  };
}

/** A stranger has no node_modules/.bin on the path. */
function withoutOurs(path: string): string {
  return path
    .split(':')
    .filter((entry) => !entry.includes('node_modules'))
    .join(':');
}

function report(command: string, { code, output }: Result, quiet = false): void {
  const wanted = EXPECTED.find(([pattern]) => pattern.test(command))?.[1];
  const refused = /"status": ?[45]\d\d\b/.test(output);
  const ok = code === 0 && !refused && (quiet || wanted === undefined || wanted.test(output));
  if (ok) passed += 1;
  else failed += 1;
  console.log(`${ok ? 'ok   ' : 'FAIL '} ${command}`);
  if (!ok) console.log(`exit code ${code}, wanted ${String(wanted ?? 'no error')}\n${output.slice(-3_000)}`);
}

function canLeaveTheNetwork(): boolean {
  return spawnSync('unshare', [isRoot ? '-n' : '-rn', 'ip', 'link', 'set', 'lo', 'up']).status === 0;
}

function must(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}
