import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { assertPortFree, freePort } from './free-port.ts';

describe('a port', () => {
  test('that is free can be had', async () => {
    await assertPortFree(await freePort(), 'testing');
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
