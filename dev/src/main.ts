// `pnpm dev`, `pnpm demo`, `pnpm trace`: the system on embedded parts, from one command.
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, stripVTControlCharacters, styleText } from 'node:util';
import { demo, DemoError } from './demo.ts';
import { createLogView } from './log-view.ts';
import { printTrace } from './otlp/print-trace.ts';
import { PortInUseError } from './port-holder.ts';
import { WORK_NICENESS } from './priority.ts';
import { openRunFile } from './run-file.ts';
import { NotReadyError, portsWithOffset, startStack, type DevPorts, type Stack } from './stack.ts';
import { onStarterGone } from './starter-gone.ts';

const HELP = `usage: pnpm dev [options]        the whole system, until Ctrl-C
       pnpm demo [--verbose]     one mail and one photo through it, shown and checked
       pnpm trace JOB            the trace of a job of the running system, as a tree

  --image N         replicas of the image service (default 1)
  --port-offset N   add N to every port (8080, 4222, ...), when one is taken
  --fresh           clear the data of earlier runs first
  --slow-mail MS    the mail server answers MS milliseconds later: something to find in traces and alerts
  --quiet           no log of the services
  --verbose         show the log of the services in the demo too
  --help            this`;

const REPOSITORY = join(import.meta.dirname, '../..');
const DATA = join(REPOSITORY, '.data');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    image: { type: 'string', default: '1' },
    'port-offset': { type: 'string', default: '0' },
    fresh: { type: 'boolean', default: false },
    'slow-mail': { type: 'string' },
    quiet: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

// After a hang-up the terminal is gone: writing to it must not end an orderly stop.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
const print = (line: string): void => {
  process.stdout.write(`${process.stdout.isTTY ? line : stripVTControlCharacters(line)}\n`);
};

/** Keeps every line of a run in a file, so that a quiet run can be looked into afterwards. */
function logFile(name: string): { readonly path: string; readonly write: (source: string, line: string) => void } {
  mkdirSync(DATA, { recursive: true });
  const path = join(DATA, `${name}.log`);
  const file = createWriteStream(path);
  return { path, write: (source, line) => void file.write(`${source} ${line}\n`) };
}

async function runDemo(): Promise<void> {
  const file = logFile('demo');
  const view = createLogView(print);
  try {
    await demo(print, (source, line) => {
      file.write(source, line);
      if (values.verbose) view(source, line);
    });
  } catch (error) {
    print(styleText('gray', `The services' log is in ${file.path}`));
    throw error;
  }
}

function devPorts(): DevPorts {
  const offset = Number(values['port-offset']);
  if (!Number.isInteger(offset) || offset < 0 || offset > 15_000) {
    throw new RangeError(`--port-offset ${values['port-offset']}: between 0 and 15000`);
  }
  return portsWithOffset(offset);
}

function mailLatency(text: string): number {
  const ms = Number(text);
  if (!Number.isInteger(ms) || ms < 1 || ms > 60_000) throw new RangeError(`--slow-mail ${text}: between 1 and 60000`);
  return ms;
}

async function runDev(): Promise<void> {
  const imageReplicas = Number(values.image);
  if (!Number.isInteger(imageReplicas) || imageReplicas < 1 || imageReplicas > 16) {
    throw new RangeError(`--image ${values.image}: between 1 and 16`);
  }
  const run = openRunFile(DATA);
  for (const pid of run.left) {
    if (pid === process.pid) continue;
    print(styleText('yellow', `ending process ${pid}, left by a run that was killed`));
    process.kill(pid, 'SIGKILL');
  }
  const view = createLogView(print);
  const starting = startStack({
    dataDirectory: join(DATA, 'dev'),
    fresh: values.fresh,
    ports: devPorts(),
    imageReplicas,
    workNiceness: WORK_NICENESS,
    interactive: true,
    ...(values['slow-mail'] === undefined ? {} : { mailLatencyMs: mailLatency(values['slow-mail']) }),
    onProgress: (text) => print(styleText('gray', `· ${text}`)),
    onProcesses: (pids) => run.file.record(pids),
    onLine: values.quiet ? () => {} : view,
  });

  let stopping: Promise<void> | undefined;
  const stop = (why: string): void => {
    stopping ??= (async () => {
      print(styleText('gray', `\n${why}: finishing what runs, then stopping`));
      const stack = await starting.catch(() => undefined);
      await stack?.stop();
      run.file.remove();
      print(styleText('gray', 'Stopped. The data is kept in .data/dev.'));
      process.exit(0);
    })();
  };
  let asked = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      asked += 1;
      // pnpm sends a hang-up after a second Ctrl-C; only a third request of a person cuts the drain short.
      if (asked > 2 && signal === 'SIGINT') process.exit(130);
      stop(signal);
    });
  }
  onStarterGone(() => stop('The terminal is gone'));
  print(table(await starting, imageReplicas));
}

function table(stack: Stack, replicas: number): string {
  const { urls } = stack;
  const rows = [
    ['API, docs', `${urls.gateway}/docs`],
    ['gRPC', `${urls.grpc} (grpcurl -plaintext ${urls.grpc} list)`],
    ['Mail', urls.mail],
    ['Traces, logs, charts', urls.otlp],
    ['NATS', `${urls.nats}  (monitor ${urls.natsMonitor}, nats-server ${stack.versions.nats})`],
    ['S3', urls.s3],
    ...stack.services.map((service) => [`${service.name} metrics`, `${service.opsUrl}/metrics`]),
  ];
  const lines = rows.map(([name = '', url = '']) => `  ${name.padEnd(22)} ${styleText('cyan', url)}`);
  return `
${styleText('bold', `Sluice is running`)}${replicas > 1 ? `, with ${replicas} image replicas` : ''}. Ctrl-C stops it.

${lines.join('\n')}

  ${styleText('gray', '# a photo to PDF')}
  curl -s --data-binary @samples/photo.jpg ${urls.gateway}/v1/images
  ${styleText('gray', '# the same, waiting for the end; then fetch the PDF')}
  curl -s -H 'Prefer: wait=10' --data-binary @samples/photo.jpg ${urls.gateway}/v1/images
  curl -sL -o photo.pdf ${urls.gateway}/v1/jobs/JOB/pdf
  ${styleText('gray', '# a welcome mail')}
  curl -s -H 'content-type: application/json' -d '{"name":"Ada","email":"ada@example.com"}' ${urls.gateway}/v1/users
  ${styleText('gray', '# what happened to a job, live; and its trace')}
  curl -sN ${urls.gateway}/v1/jobs/JOB/stream
  npx pnpm trace JOB
`;
}

async function runTrace(): Promise<void> {
  const [, id] = positionals;
  if (id === undefined) throw new RangeError(`which job?\n\n${HELP}`);
  const ports = devPorts();
  const receiverUrl = `http://127.0.0.1:${ports.otlp}`;
  if ((await fetch(receiverUrl).catch(() => undefined)) === undefined) {
    throw new RangeError(`nothing answers at ${receiverUrl}: start the system with \`pnpm dev\` first`);
  }
  print(await printTrace(id, { receiverUrl, gatewayUrl: `http://127.0.0.1:${ports.gateway}` }));
}

async function main(): Promise<void> {
  const [command = 'dev'] = positionals;
  if (values.help) print(HELP);
  else if (command === 'demo') await runDemo();
  else if (command === 'trace') await runTrace();
  else if (command === 'dev') await runDev();
  else throw new RangeError(`no command ${command}\n\n${HELP}`);
}

/** Errors whose message says all a person needs; of any other the stack is wanted too. */
const EXPECTED = [DemoError, NotReadyError, PortInUseError, RangeError];

main().then(
  () => {
    if (positionals[0] === 'demo') process.exit(0);
  },
  (error: unknown) => {
    const expected = EXPECTED.some((kind) => error instanceof kind);
    const text = error instanceof Error ? ((expected ? error.message : error.stack) ?? error.message) : String(error);
    process.stderr.write(`${styleText('red', text)}\n`);
    process.exit(1);
  },
);
