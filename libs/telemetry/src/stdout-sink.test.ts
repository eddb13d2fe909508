import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { expect, test } from 'vitest';

const LINES = 20_000;
const SOURCE = `
  import { startTelemetry } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))};
  const { log, shutdown } = startTelemetry({ service: 'probe', shutdownTimeoutMs: 300 });
  const write = (lines) => { for (let n = 1; n <= lines; n += 1) log.info({ n, filler: 'x'.repeat(100) }, 'a line'); };
`;

/** Runs a script with a log in a process of its own whose stdout is a pipe that is not read yet. */
function logging(script: string): ChildProcessByStdio<null, Readable, null> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', SOURCE + script], {
    cwd: join(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  return child as ChildProcessByStdio<null, Readable, null>;
}

interface Line {
  readonly n?: number;
  readonly msg: string;
  readonly lines?: number;
}
async function linesOf(child: { readonly stdout: Readable }): Promise<Line[]> {
  let text = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) text += chunk as string;
  return linesIn(text);
}
function linesIn(text: string): Line[] {
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

test('a reader that does not read stops nothing: what it has no room for is dropped, counted and said', async () => {
  const child = logging(`
    const before = process.memoryUsage().rss;
    write(${LINES});
    // The next turn of the loop: a write that waited would never come to it.
    setImmediate(() => process.send({ grown: process.memoryUsage().rss - before }));
    process.once('message', () => { write(1); process.exit(0); });
  `);
  const [{ grown }] = (await once(child, 'message')) as [{ grown: number }];
  expect(grown).toBeLessThan(64 * 2 ** 20);
  // What waited is read now, and the line that says what did not wait.
  let text = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    const isSaid = text.includes('log lines were dropped');
    text += chunk as string;
    if (!isSaid && text.includes('log lines were dropped')) child.send('go on');
  }
  const lines = linesIn(text);
  const taken = lines.filter(({ msg }) => msg === 'a line');
  const dropped = lines.find(({ msg }) => msg.startsWith('log lines were dropped'))?.lines ?? 0;
  expect(dropped).toBeGreaterThan(LINES / 2);
  expect(taken.length + dropped).toBe(LINES + 1);
});

test('a process ends although what it wrote is not read', async () => {
  const child = logging(`write(${LINES}); await shutdown(); process.exit(0);`);
  expect(await once(child, 'exit')).toEqual([0, null]);
  child.stdout.destroy();
});

test.each([
  // More than the pipe holds, and less.
  ['exits', 2_000, 'process.exit(3)'],
  ['throws', 2_000, 'throw new Error("a crash that the test makes")'],
  ['is killed', 20, 'process.kill(process.pid, "SIGKILL")'],
])('the last line of a process that %s is there', async (_, count, end) => {
  const child = logging(`process.on('uncaughtException', () => process.exit(4)); write(${count}); ${end};`);
  expect((await linesOf(child)).map(({ n }) => n)).toEqual(Array.from({ length: count }, (_, n) => n + 1));
});

test('a reader that goes away ends no process', async () => {
  const child = logging(`
    process.once('message', () => { write(5); setImmediate(() => { write(5); process.send('alive'); }); });
    write(1);
  `);
  await once(child.stdout, 'readable');
  child.stdout.destroy();
  child.send('go on');
  expect((await once(child, 'message'))[0]).toBe('alive');
  child.kill();
});
