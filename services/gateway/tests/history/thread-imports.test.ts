import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const HISTORY = join(import.meta.dirname, '../../src/history');

/** Prints every module that the import of a file loads. */
const loaded = (file: string): string => `
  import { registerHooks } from 'node:module';
  registerHooks({ load(url, context, next) { console.log(url); return next(url, context); } });
  await import(${JSON.stringify(file)});
`;

// A thread loads its modules again: those of the connection to NATS take as long as all others together.
test.each(['sqlite/model.ts', 'postgres/model.ts'])(
  'the thread of the history loads no NATS client with %s',
  async (file) => {
    const args = ['--input-type=module', '--eval', loaded(join(HISTORY, file))];
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 24 });
    expect(stdout).toContain(file);
    expect(stdout.split('\n').filter((url) => /@nats-io|\/(messaging|pipeline)\/src\/index/.test(url))).toEqual([]);
  },
);
