import { spawn } from 'node:child_process';
import { dataOf } from '@sluice/client';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { printCompletionScript, shells } from '../completion-script.ts';
import { CommandError } from '../errors.ts';
import { bytes, duration, table } from '../output.ts';
import { diagnose } from '../doctor.ts';

const PIPELINE = {
  name: 'pipeline',
  summary: 'its name, which is that of its consumer: `streams` lists them',
} as const;
const PAGES = ['console', 'docs', 'mail', 'traces'] as const;

export const systemCommands: readonly Command[] = [
  {
    name: 'pipelines pause',
    summary: 'Stop pulling work, on every replica and over restarts',
    arguments: [PIPELINE],
    examples: ['pipelines pause welcome_mailer'],
    run: (context, { words: [name = ''] }) => setPaused(context, name, 'pause'),
  },
  {
    name: 'pipelines resume',
    summary: 'Start pulling work again',
    arguments: [PIPELINE],
    examples: ['pipelines resume welcome_mailer'],
    run: (context, { words: [name = ''] }) => setPaused(context, name, 'resume'),
  },
  {
    name: 'streams',
    summary: 'Show streams and consumers: what waits, what runs, what is stuck',
    arguments: [{ name: 'stream', summary: 'show this one alone, such as IMAGES', optional: true }],
    examples: ['streams', 'streams IMAGES', 'streams --json'],
    async run({ sluice, output, signal }, { words: [name] }) {
      const { at, streams } = await dataOf(sluice.api.GET('/v1/stats', { signal }));
      const shown = streams.filter((stream) => name === undefined || stream.name === name.toUpperCase());
      if (shown.length === 0)
        throw new CommandError(
          'refused',
          `there is no stream ${name}: there are ${streams.map((each) => each.name).join(', ')}`,
        );
      output.json({ at, streams: shown });
      output.print(
        table(
          ['stream', 'messages', 'size', 'oldest', 'stuck'],
          shown.map(({ name: stream, messages, bytes: size, oldestAgeMs, stuck }) => [
            stream,
            messages,
            bytes(size),
            oldestAgeMs === undefined ? '' : duration(oldestAgeMs),
            stuck === undefined ? '' : String(stuck),
          ]),
        ),
      );
      const consumers = shown.flatMap((stream) =>
        stream.consumers.map((consumer) => ({ stream: stream.name, ...consumer })),
      );
      if (consumers.length === 0) return;
      output.print('');
      output.print(
        table(
          ['consumer', 'stream', 'wait', 'in flight', 'redelivered', 'pulls', 'dead', 'per second'],
          consumers.map((each) => [
            each.name,
            each.stream,
            each.pending,
            each.inFlight,
            each.redelivered,
            each.pulls,
            each.deadLetters,
            each.ratePerSecond.toFixed(1),
          ]),
        ),
      );
    },
  },
  {
    name: 'trace',
    summary: 'Print the trace of a job of `pnpm dev` as a tree',
    examples: ['trace job_...', 'trace --help'],
    words: 'JOB',
    program: 'dev/src/commands/trace.ts',
  },
  {
    name: 'replay',
    summary: 'Read a stream again: rebuild the read model, or publish messages again (over the broker)',
    examples: ['replay --into history.db', 'replay --stream EVENTS --from 1 --dry-run', 'replay --help'],
    words: '--into FILE',
    program: 'services/gateway/src/cli/replay.ts',
  },
  {
    name: 'provision',
    summary: 'Make and update streams, buckets and consumers (over the broker)',
    examples: ['provision', 'provision --help'],
    words: '',
    program: 'services/gateway/src/cli/provision.ts',
  },
  {
    name: 'open',
    summary: 'Open a page of the system in the browser, or print its address',
    arguments: [{ name: 'page', summary: 'which page; console unless given', choices: PAGES, optional: true }],
    examples: ['open', 'open docs', 'open mail'],
    async run(context, { words: [page = 'console'] }) {
      const { output, target } = context;
      const url = pageOf(context, page);
      await context.sluice.api.GET('/healthz', { signal: context.signal });
      output.json({ page, url });
      output.print(url);
      if (process.stdout.isTTY && !output.isJson) openInBrowser(url);
      else if (target.stack === undefined) return;
    },
  },
  {
    name: 'doctor',
    summary: 'Look for what is wrong, and say what fixes it',
    detail:
      'Node, disk, permissions, ports, the API, its key, the clock, and the queues. Exits with 1 when something is wrong.',
    examples: ['doctor', 'doctor --json'],
    async run(context) {
      const { output } = context;
      let wrong = 0;
      for await (const finding of diagnose(context)) {
        if (finding.state === 'wrong') wrong += 1;
        output.json(finding);
        output.print(`${finding.state.padEnd(5)}  ${finding.what.padEnd(12)}  ${finding.says}`);
        if (finding.fix !== undefined) output.print(`${' '.repeat(21)}fix: ${finding.fix}`);
      }
      if (wrong > 0) throw new CommandError('failed', `${wrong} ${wrong === 1 ? 'thing is' : 'things are'} wrong`);
    },
  },
  {
    name: 'completion',
    summary: 'Print the script that completes commands in a shell',
    detail:
      'It completes the command sluice, which your shell has to know: in this repository by `alias sluice="npx pnpm --silent sluice"`. Load it with `source <(sluice completion bash)` in ~/.bashrc, with zsh in ~/.zshrc, and in fish with `sluice completion fish | source`.',
    arguments: [{ name: 'shell', summary: 'the shell that you use', choices: shells }],
    options: [
      { flags: '--program <command>', summary: 'what the script calls to complete; this very program unless given' },
    ],
    examples: ['completion bash', 'completion zsh', 'completion fish'],
    async run({ output }, { words: [word], text }) {
      const shell = word as (typeof shells)[number];
      printCompletionScript(shell, text('program') ?? defaultProgram());
      const load = shell === 'fish' ? 'sluice completion fish | source' : `source <(sluice completion ${shell})`;
      if (process.stdout.isTTY) output.note(`This is a script for ${shell}. Have ${shell} read it: ${load}`);
      await Promise.resolve();
    },
  },
];

/** The script calls this very program, wherever it lies. */
const quoted = (path: string): string => (/^[\w./+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
const defaultProgram = (): string => `${quoted(process.execPath)} ${quoted(process.argv[1] ?? 'sluice')}`;

async function setPaused({ sluice, output, signal }: Context, name: string, verb: 'pause' | 'resume'): Promise<void> {
  const call = { params: { path: { name } }, signal };
  const state = await dataOf(
    verb === 'pause'
      ? sluice.api.POST('/v1/pipelines/{name}:pause', call)
      : sluice.api.POST('/v1/pipelines/{name}:resume', call),
  );
  output.json(state);
  output.print(`${name} is ${state.paused ? 'paused' : 'at work'}`);
}

function pageOf({ target: { url, stack } }: Context, page: string): string {
  if (page === 'console') return `${url}/`;
  if (page === 'docs') return `${url}/docs`;
  // Compose serves them by path, behind the same address.
  if (page === 'mail') return stack?.urls?.mail ?? `${url}/mail/`;
  return stack?.urls?.otlp ?? `${url}/jaeger/`;
}

function openInBrowser(url: string): void {
  const opener = process.platform === 'darwin' ? 'open' : process.platform === 'win32' ? 'explorer' : 'xdg-open';
  const child = spawn(opener, [url], { stdio: 'ignore', detached: true });
  // The address is printed; a machine without a browser has nothing to open it with.
  child.once('error', () => undefined);
  child.unref();
}
