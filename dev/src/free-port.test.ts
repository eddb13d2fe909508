import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { assertPortFree, freePort, portsFolder } from './free-port.ts';

describe('a port', () => {
  test('that is free can be had', async () => {
    await assertPortFree(await freePort(), 'testing');
  });

  test('is given to one alone, whichever process asks', async () => {
    const ask = `import { freePort } from ${JSON.stringify(join(import.meta.dirname, 'free-port.ts'))};
      for (let n = 0; n < 300; n++) console.log(await freePort());
      await new Promise((resolve) => process.stdin.once('end', resolve).resume());`;
    const children = [1, 2].map(() =>
      spawn(process.execPath, ['--input-type=module', '-e', ask], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    const theirs = children.map(async ({ stdout }) => {
      const lines: string[] = [];
      for await (const line of createInterface({ input: stdout })) if (lines.push(line) === 300) break;
      return lines;
    });
    const mine = await Promise.all(Array.from({ length: 300 }, async () => String(await freePort())));
    const all = [...mine, ...(await Promise.all(theirs)).flat()];
    expect(new Set(all).size).toBe(900);
    // Those of a process that has ended can be had again; of one that was killed, once another process asks.
    const [ending, killed] = children;
    ending?.stdin.end();
    killed?.kill('SIGKILL');
    await Promise.all(children.map((child) => once(child, 'exit')));
    spawnSync(process.execPath, ['--input-type=module', '-e', ask.replace('300', '1')], { input: '' });
    expect(readdirSync(portsFolder).filter((port) => all.slice(300).includes(port))).toEqual([]);
  });

  test('in use says what it was for and who has it', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      await expect(assertPortFree(port, 'the gateway')).rejects.toThrow(`port ${port} (the gateway) is in use by`);
      if (process.platform === 'linux') {
        await expect(assertPortFree(port, 'x')).rejects.toThrow(`(pid ${process.pid})`);
      }
    } finally {
      server.close();
    }
  });
});
