import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cpuMsOf } from '../processes.ts';

/** What wrk asks for, again and again. */
export interface WrkRequest {
  readonly url: string;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  /** A body; `%d` stands for a number that no other request of the run has. */
  readonly body?: string;
  /** How long each connection waits before its next request; none if absent. */
  readonly pauseMs?: number;
}

export interface WrkResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers other than 2xx, and connections that failed. */
  readonly failed: number;
  /** CPU time per request of each watched process and of wrk itself, in microseconds. */
  readonly cpuUs: Readonly<Record<string, number>> & { readonly wrk: number };
}

/** @throws {Error} when wrk is not installed, with what installs it. */
export function requireWrk(): void {
  if (spawnSync('wrk', ['--version']).error === undefined) return;
  throw new Error('the load comes from wrk, which is not installed: apt-get install wrk, or brew install wrk');
}

const run = promisify(execFile);

/** Requests one after the other on each connection, from two threads of a compiled program, as fast as the server answers. */
export async function wrk(
  request: WrkRequest,
  options: { connections: number; seconds: number; watch: Readonly<Record<string, number>> },
): Promise<WrkResult> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-wrk-'));
  const script = join(directory, 'request.lua');
  writeFileSync(script, luaOf(request));
  const pids = Object.entries(options.watch);
  const cpuBefore = pids.map(([, pid]) => cpuMsOf(pid));
  try {
    const { stdout } = await run('wrk', [
      '--threads=2',
      `--connections=${options.connections}`,
      `--duration=${options.seconds}s`,
      '--timeout=10s',
      `--script=${script}`,
      request.url,
    ]);
    const found = /^RESULT (.*)$/m.exec(stdout)?.[1];
    if (found === undefined) throw new Error(`wrk printed no result:\n${stdout}`);
    const [requests = 0, seconds = 1, p50 = 0, p99 = 0, failed = 0, wrkUs = 0] = found.split(' ').map(Number);
    if (requests === 0) throw new Error(`${request.url} answered nothing`);
    const gone = pids.find(([, pid]) => Number.isNaN(cpuMsOf(pid)));
    if (gone !== undefined) throw new Error(`${gone[0]} has ended under the load`);
    const cpu = pids.map(
      ([name, pid], at) => [name, ((cpuMsOf(pid) - (cpuBefore[at] ?? 0)) * 1e3) / requests] as const,
    );
    return {
      requests,
      perSecond: requests / seconds,
      p50Ms: p50 / 1e3,
      p99Ms: p99 / 1e3,
      failed,
      cpuUs: { ...Object.fromEntries(cpu), wrk: wrkUs / requests },
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Threads of wrk count apart: each has its own range of numbers. os.clock() is the CPU time of the whole program. */
function luaOf({ method = 'GET', headers = {}, body, pauseMs }: WrkRequest): string {
  const set = Object.entries(headers).map(([name, value]) => `wrk.headers[${lua(name)}] = ${lua(value)}`);
  return `
local thread = 0
function setup(t) t:set('number', thread * 1e9) thread = thread + 1 end
wrk.method = ${lua(method)}
${set.join('\n')}
${pauseMs === undefined ? '' : `function delay() return ${pauseMs} end`}
${
  body === undefined
    ? ''
    : `local body = ${lua(body)}
local started = os.time() % 1e6
function request()
  number = number + 1
  return wrk.format(nil, nil, nil, (body:gsub('%%d', started .. string.format('%012d', number))))
end`
}
function done(summary, latency)
  local e = summary.errors
  print(string.format('RESULT %d %.6f %d %d %d %.0f', summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout,
    os.clock() * 1e6))
end
`;
}

const lua = (text: string): string => JSON.stringify(text);
