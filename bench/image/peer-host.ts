// Runs and times one command after the other for `peers.ts`, one JSON line each way.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface PeerRequest {
  readonly id: number;
  readonly command: readonly string[];
  /** Where the command may leave temporary files. */
  readonly folder: string;
  readonly timeoutMs: number;
}

export interface PeerAnswer {
  readonly id: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly error?: string;
}

// bash times the command itself, without its own start. A peer that does not end is killed with all it started, even if
// this process is gone by then; and none may fill the disk: a bomb in another converter has written 70 GB.
const timed = `TIMEFORMAT='time %3R %3U %3S'; ulimit -f 4194304; ulimit -t 240; time "$@"`;

function runOne({ id, command, folder, timeoutMs }: PeerRequest): Promise<PeerAnswer> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', timed, 'bash', ...command], {
      env: { ...process.env, TMPDIR: folder, MAGICK_TMPDIR: folder, MAGICK_TEMPORARY_PATH: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    let errors = '';
    child.stderr.on('data', (text: Buffer) => (errors += text.toString()));
    const timer = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), timeoutMs);
    child.once('close', (code) => {
      clearTimeout(timer);
      const [, real = 0, user = 0, system = 0] = (/time ([\d.]+) ([\d.]+) ([\d.]+)/.exec(errors) ?? []).map(Number);
      const failure =
        code === 0 ? {} : { error: code === null ? 'does not end' : (errors.split('\n')[0] ?? `exit ${code}`) };
      resolve({ id, wallMs: real * 1000, cpuMs: (user + system) * 1000, ...failure });
    });
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as PeerRequest;
  process.stdout.write(`${JSON.stringify(await runOne(request))}\n`);
}
