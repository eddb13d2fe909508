// `pnpm new service NAME`: a service with its contract, pipeline, tests, container, NATS user, dashboard and alerts.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { findHelm } from '../kubernetes/chart.ts';
import { AnchorError, applyEdit } from './edits.ts';
import { editsOf, USERS_CONF } from './edits-of.ts';
import { filesOf } from './files-of.ts';
import { kindNames } from './names.ts';

const USAGE = `usage: pnpm new service NAME [--root DIR]

Makes a service that works on jobs of a kind of its own, as docs/adding-a-service.md describes:
its contract, the service with a test, the gateway's route POST /v1/NAME, the entries in the registry
of job kinds, Compose, NATS users, Prometheus targets, a dashboard and alerts.

  NAME         2 to 16 lower-case letters and digits, e.g. sms
  --root DIR   the repository to change; this one when absent
  --help       this`;

const JOBS_PROTO = 'protos/sluice/v1/jobs.proto';

/** The number after the last one of a block of the .proto file. */
function nextNumber(proto: string, opening: string): number {
  const block = proto.slice(proto.indexOf(opening)).split('\n}')[0] ?? '';
  return 1 + Math.max(...[...block.matchAll(/= (\d+);/g)].map(([, number]) => Number(number)));
}

function run(root: string, command: string, ...args: string[]): void {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0)
    throw new Error(`${[command, ...args].join(' ')} failed${error === undefined ? '' : `: ${error.message}`}`);
}

async function newService(name: string, root: string): Promise<void> {
  const path = (file: string): string => join(root, file);
  const proto = readFileSync(path(JOBS_PROTO), 'utf8');
  const words = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, word]) => word ?? '');
  const names = kindNames(name, [
    ...words(proto, /\w+Request (\w+) = \d+;/g),
    // Streams and routes are named by the same word.
    ...words(readFileSync(path('libs/contracts/src/catalogue.ts'), 'utf8'), /^ {2}\| '([A-Z]+)'/gm).map((stream) =>
      stream.toLowerCase(),
    ),
    ...words(readFileSync(path('libs/client/src/gen/api.ts'), 'utf8'), /"\/v1\/([a-z]+)/g),
  ]);
  const files = filesOf(names);
  for (const file of Object.keys(files)) {
    if (existsSync(path(file))) throw new RangeError(`${file} is there already: choose another name, or delete it`);
  }
  const numbers = {
    kind: nextNumber(proto, 'enum JobKind {'),
    request: nextNumber(proto, 'message JobRequest {'),
    result: nextNumber(proto, 'message JobResult {'),
  };
  const edits = editsOf(names, numbers, readFileSync(path(USERS_CONF), 'utf8'));
  // All edits are made in memory first: a file that was reshaped leaves the repository as it was.
  const changed = new Map<string, string>();
  for (const edit of edits) {
    changed.set(edit.file, applyEdit(changed.get(edit.file) ?? readFileSync(path(edit.file), 'utf8'), edit));
  }
  for (const [file, text] of [...changed, ...Object.entries(files)]) {
    mkdirSync(dirname(path(file)), { recursive: true });
    writeFileSync(path(file), text);
  }
  for (const file of Object.keys(files)) console.log(`made     ${file}`);
  for (const file of changed.keys()) console.log(`changed  ${file}`);
  run(root, 'npx', 'pnpm', 'install', '--no-frozen-lockfile', '--prefer-offline');
  // Imports have an order there.
  run(root, 'npx', 'buf', 'format', '--write');
  run(root, 'npx', 'pnpm', 'gen');
  run(root, 'npx', 'pnpm', 'gen:dashboards');
  run(root, 'npx', 'pnpm', 'gen:config-docs');
  run(root, 'npx', 'pnpm', 'gen:retention-docs');
  run(root, 'npx', 'pnpm', 'fmt');
  const helm = await findHelm();
  if (helm !== undefined) run(root, 'npx', 'pnpm', 'gen:manifests');
  console.log(`
Next:
  npx pnpm check && npx pnpm test services/${name} tests/job-kinds.test.ts
  npx pnpm dev        then: curl -s -H 'content-type: application/json' -d '{"text":"hello"}' http://localhost:8080/v1/${name}
The work is in services/${name}/src/run-${name}.ts, its request and result in protos/sluice/v1/${name}.proto.`);
  if (helm === undefined) console.log('deploy/kubernetes lacks it: npx pnpm gen:manifests, which needs helm');
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { root: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
  });
  const [what, name, ...rest] = positionals;
  if (values.help) console.log(USAGE);
  else if (what !== 'service' || name === undefined || rest.length > 0) {
    console.error(USAGE);
    process.exitCode = 2;
  } else await newService(name, values.root ?? join(import.meta.dirname, '../../..'));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = error instanceof RangeError || error instanceof AnchorError ? 2 : 1;
}
