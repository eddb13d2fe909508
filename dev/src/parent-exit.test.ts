import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';

const script = `
  import { onParentExit } from ${JSON.stringify(`${import.meta.dirname}/parent-exit.ts`)};
  const stay = setInterval(() => {}, 1000);
  onParentExit(() => { console.log('parent exited'); clearInterval(stay); }, 20);
  console.log('pid ' + process.pid);
`;
// As npx does it: the script is started through a shell, and a signal to the parent is not passed on.
const parent = `
  const { spawn } = require('node:child_process');
  spawn('sh', ['-c', '"$NODE" --input-type=module -e "$SCRIPT"; true'], { stdio: 'inherit', detached: true });
  setInterval(() => {}, 1000);
`;

describe.runIf(process.platform === 'linux')('onParentExit', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)('tells a script whose npx was ended by %s', async (signal) => {
    const npx = spawn(process.execPath, ['-e', parent, 'npx'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE: process.execPath, SCRIPT: script },
    });
    const lines = createInterface({ input: npx.stdout })[Symbol.asyncIterator]();
    const first = String((await lines.next()).value);
    expect(first).toMatch(/^pid \d+$/);
    npx.kill(signal);
    await once(npx, 'exit');
    // Only the script holds the pipe now: it prints and ends by itself.
    expect((await lines.next()).value).toBe('parent exited');
    expect((await lines.next()).done).toBe(true);
  });
});
