import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** What a decoder process may use before it is killed. */
export interface DecoderLimits {
  /** Resident memory. */
  readonly memoryBytes: number;
  /** CPU time of its whole life, in seconds; the kernel ends it there if nothing else did. */
  readonly cpuSeconds: number;
}

/** A running decoder and its end of the pipe. */
export interface DecoderProcess {
  readonly pipe: Duplex;
  readonly pid: number;
  /** How it ended: its exit code or signal, and the end of its standard error. Resolves once, never rejects. */
  readonly ended: Promise<string>;
  kill(): void;
}

const decoderEntry = new URL('decoder-main.ts', import.meta.url);

/**
 * Starts a decoder. Its environment is empty but for what tunes it: credentials stay here. The shell in front sets the
 * kernel's limits, which the decoder cannot raise: no file may be written, no core dumped, CPU time is bounded.
 */
export function startDecoder(limits: DecoderLimits, { entry = decoderEntry }: { entry?: URL } = {}): DecoderProcess {
  const setLimits = `ulimit -f 0; ulimit -c 0; ulimit -t ${limits.cpuSeconds}; exec "$0" "$@"`;
  const flags = [
    '--permission',
    '--allow-fs-read=*',
    '--allow-addons',
    '--max-old-space-size=128',
    '--disable-warning=SecurityWarning',
  ];
  const child = spawn('/bin/sh', ['-c', setLimits, process.execPath, ...flags, fileURLToPath(entry)], {
    env: {
      MALLOC_ARENA_MAX: '2',
      VIPS_BLOCK_UNTRUSTED: '1',
      UV_THREADPOOL_SIZE: '4',
      PATH: process.env['PATH'] ?? '',
    },
    // Its words are kept, not passed on: where standard error is a file, its file limit would kill it for speaking.
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const pipe = child.stdio[3] as unknown as Duplex;
  // A killed decoder resets the pipe; `ended` tells.
  pipe.on('error', () => {});
  return {
    pipe,
    pid: child.pid ?? 0,
    ended: endOf(child),
    kill: () => child.kill('SIGKILL'),
  };
}

const mostLastWords = 500;

function endOf(child: ChildProcess): Promise<string> {
  let lastWords = '';
  child.stderr?.on('data', (text: Buffer) => (lastWords = `${lastWords}${text.toString()}`.slice(-mostLastWords)));
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(`${signal ?? `exit code ${code}`} ${lastWords}`.trim()));
  });
}

const pageBytes = 4096;

/** Resident memory of another process; undefined where the system does not tell, or the process is gone. */
export function residentBytes(pid: number): number | undefined {
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1];
    return pages === undefined ? undefined : Number(pages) * pageBytes;
  } catch {
    return undefined;
  }
}

// USER_HZ: what /proc counts CPU time in, on every architecture that Node runs on (proc(5)).
const ticksPerSecond = 100;

/** CPU time another process has used; undefined where the system does not tell, or the process is gone. */
export function cpuMsOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name of the program, in parentheses, may hold spaces. Behind it, fields 14 and 15 are the 12th and 13th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
  } catch {
    return undefined;
  }
}
