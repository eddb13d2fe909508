import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { frameType, writeJson } from '../../src/convert/decode/decoder-protocol.ts';

/** Stands in for a decoder that was taken over: tries what it must not be able to do, and tells. */
const attempt = (act: () => unknown): string => {
  try {
    act();
    return 'done';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};
const findings = {
  write: attempt(() => writeFileSync(path.join(os.tmpdir(), 'sluice-intruder'), 'x')),
  spawn: attempt(() => spawnSync('/bin/true')),
  environment: JSON.stringify(process.env),
};
const pipe = new Socket({ fd: 3, readable: true, writable: true });
await writeJson(pipe, frameType.failed, { code: 'corrupt_image', message: JSON.stringify(findings) });
pipe.resume();
