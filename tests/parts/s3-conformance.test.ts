// What the services use of S3, asked of a real SeaweedFS that is started as docker-compose.yml starts it. Without one here
// nothing is asked, and the output says so.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { findPart } from '../tools/find-part.ts';
import { startSeaweedFs } from './store-parts.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const weed = await findPart('seaweedfs');
if (weed === undefined) {
  console.warn('S3 conformance: SeaweedFS not asked, no version 4 here. `weed` on PATH or in ~/.cache/sluice is asked');
}

interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

test.skipIf(weed === undefined)('SeaweedFS passes the conformance suite of S3', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-s3-conformance-'));
  const store = await startSeaweedFs(weed ?? '', join(folder, 'store'));
  try {
    const report = join(folder, 'report.json');
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
    const args = [vitest, 'run', 'dev/src/s3/conformance', '--reporter=json', `--outputFile=${report}`];
    await run(process.execPath, args, {
      cwd: ROOT,
      env: {
        ...process.env,
        S3_CONFORMANCE_ENDPOINT: store.url,
        S3_ACCESS_KEY_ID: store.accessKeyId,
        S3_SECRET_ACCESS_KEY: store.secretAccessKey,
      },
      // Its exit code says less than the report.
    }).catch(() => undefined);
    const { numPassedTests, testResults } = JSON.parse(await readFile(report, 'utf8')) as Report;
    const failed = testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.split('\n')[0]}`);
    expect(failed).toEqual([]);
    expect(numPassedTests).toBeGreaterThan(40);
  } finally {
    await store.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
