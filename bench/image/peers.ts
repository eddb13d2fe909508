// Other converters, run as a service would run them: one process a file.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { PeerAnswer, PeerRequest } from './peer-host.ts';

export interface PeerRun {
  readonly wallMs: number;
  readonly cpuMs: number;
}

export interface Peers {
  /** What is there, with its version. */
  readonly versions: Readonly<Partial<Record<PeerName, string>>>;
  /** Why the others are not. */
  readonly missing: readonly string[];
  /** Converts a file; the reason as text when the peer cannot. */
  run(peer: PeerName, file: string, timeoutMs: number): Promise<PeerRun | string>;
  close(): void;
}

export type PeerName = 'ImageMagick' | 'img2pdf';

const commands: Record<
  PeerName,
  { program: string; args: (input: string, output: string) => string[]; install: string }
> = {
  ImageMagick: {
    program: '/usr/bin/convert',
    args: (input, output) => [`${input}[0]`, output],
    install: 'imagemagick',
  },
  img2pdf: { program: 'img2pdf', args: (input, output) => [input, '-o', output], install: 'img2pdf' },
};

/**
 * Finds the peers. Debian's ImageMagick refuses to write PDF by policy; where that is so, it runs in a mount namespace
 * of its own with a policy that allows it, and the system's stays as it is.
 */
export function openPeers(): Peers {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-peers-'));
  const versions: Partial<Record<PeerName, string>> = {};
  const missing: string[] = [];
  for (const name of Object.keys(commands) as PeerName[]) {
    const version = versionOf(commands[name].program);
    if (version) versions[name] = version;
    else missing.push(`${name} is not installed: apt-get install ${commands[name].install}`);
  }
  const host = startHost(folder, missing, versions);
  const answers = new Map<number, (answer: PeerAnswer) => void>();
  createInterface({ input: host.stdout! }).on('line', (line) => {
    const answer = JSON.parse(line) as PeerAnswer;
    answers.get(answer.id)?.(answer);
    answers.delete(answer.id);
  });
  let next = 0;
  return {
    versions,
    missing,
    async run(peer, file, timeoutMs) {
      const { program, args } = commands[peer];
      const request: PeerRequest = {
        id: next++,
        folder,
        timeoutMs,
        command: [program, ...args(file, `${folder}/out.pdf`)],
      };
      const answer = await new Promise<PeerAnswer>((resolve) => {
        answers.set(request.id, resolve);
        host.stdin!.write(`${JSON.stringify(request)}\n`);
      });
      return answer.error ?? { wallMs: answer.wallMs, cpuMs: answer.cpuMs };
    },
    close() {
      host.stdin!.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function versionOf(program: string): string | undefined {
  const { stdout, status } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return status === 0 ? /\d+(?:\.\d+)+(?:-\d+)?/.exec(stdout)?.[0] : undefined;
}

function startHost(folder: string, missing: string[], versions: Partial<Record<PeerName, string>>): ChildProcess {
  const script = path.join(import.meta.dirname, 'peer-host.ts');
  const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit'];
  const policy = versions.ImageMagick === undefined ? undefined : policyThatRefusesPdf();
  if (policy === undefined) return spawn(process.execPath, [script], { stdio });
  const allowing = path.join(folder, 'policy.xml');
  writeFileSync(allowing, readFileSync(policy, 'utf8').replaceAll(/<policy[^>]*pattern="PDF"[^>]*>/g, ''));
  const bind = 'mount --bind "$0" "$1" && exec "$2" "$3"';
  const works = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount --bind "$0" "$1"', allowing, policy]).status === 0;
  if (!works) {
    missing.push(`ImageMagick may not write PDF here (${policy}), and no mount namespace can be had to let it`);
    delete versions.ImageMagick;
    return spawn(process.execPath, [script], { stdio });
  }
  return spawn('unshare', ['-rm', 'sh', '-c', bind, allowing, policy, process.execPath, script], { stdio });
}

function policyThatRefusesPdf(): string | undefined {
  const { stdout } = spawnSync(commands.ImageMagick.program, ['-list', 'policy'], { encoding: 'utf8' });
  const file = /Path: (\/\S+policy\.xml)/.exec(stdout)?.[1];
  return file !== undefined && /rights="none" pattern="PDF"/.test(readFileSync(file, 'utf8')) ? file : undefined;
}
