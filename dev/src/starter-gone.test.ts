import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';

const guard = `
  import { onStarterGone } from ${JSON.stringify(`${import.meta.dirname}/starter-gone.ts`)};
  const stay = setInterval(() => {}, 1000);
  onStarterGone((name) => { console.log('gone ' + (name === '' ? 'nobody' : 'somebody')); clearInterval(stay); }, 20);
  console.log('pid ' + process.pid);
`;
// As npx does it: the script is started through a shell, and a signal to the starter is passed on to nobody.
const starter = `
  const { spawn } = require('node:child_process');
  spawn('sh', ['-c', '"$NODE" --input-type=module -e "$GUARD"; true'], { stdio: 'inherit', detached: true });
  setInterval(() => {}, 1000);
`;

describe.runIf(process.platform === 'linux')('onStarterGone', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)('tells a script whose npx was ended by %s', async (signal) => {
    const npx = spawn(process.execPath, ['-e', starter, 'npx'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE: process.execPath, GUARD: guard },
    });
    const lines = createInterface({ input: npx.stdout })[Symbol.asyncIterator]();
    const first = String((await lines.next()).value);
    expect(first).toMatch(/^pid \d+$/);
    npx.kill(signal);
    await once(npx, 'exit');
    // The pipe is held by the script alone now: it speaks and ends by itself.
    expect((await lines.next()).value).toBe('gone somebody');
    expect((await lines.next()).done).toBe(true);
  });
});
