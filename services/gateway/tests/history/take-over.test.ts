// Gateways as processes of their own, on one broker and one PostgreSQL: the one that takes the streams in is killed.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findPostgres, freePort, startPostgres, type PostgresProcess } from '@sluice/dev';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from '../rig.ts';

const bin = findPostgres();

interface GatewayProcess {
  readonly url: string;
  kill(): Promise<void>;
}

describe.skipIf(bin === undefined)(
  'the history of two gateways in PostgreSQL (skipped where none is installed)',
  () => {
    let server: PostgresProcess;
    let databaseUrl: string;
    let database: Client;
    /** Its own gateway has a history of its own, in memory, made of the same streams: what is to be in PostgreSQL. */
    let rig: Rig;
    const processes: ChildProcess[] = [];
    /** What the processes logged: errors alone. */
    const logged: string[] = [];

    beforeAll(async () => {
      [server, rig] = await Promise.all([startPostgres(bin ?? ''), startRig()]);
      databaseUrl = await server.newDatabase();
      database = new Client({ connectionString: databaseUrl });
      await database.connect();
    });
    afterAll(async () => {
      for (const child of processes) child.kill('SIGKILL');
      await database?.end();
      await rig?.stop();
      await server?.stop();
    });

    async function startProcess(instance: string): Promise<GatewayProcess> {
      const [port, opsPort] = [await freePort(), await freePort()];
      const child = spawn(process.execPath, [join(import.meta.dirname, '../../src/main.ts')], {
        env: {
          ...process.env,
          SLUICE_ENV: 'dev',
          INSTANCE: instance,
          LOG_LEVEL: 'error',
          HOST: '127.0.0.1',
          PORT: String(port),
          GRPC_PORT: String(await freePort()),
          OPS_PORT: String(opsPort),
          NATS_URL: rig.nats.url,
          S3_ENDPOINT: rig.s3.url,
          S3_REGION: rig.s3.region,
          S3_ACCESS_KEY_ID: rig.s3.accessKeyId,
          S3_SECRET_ACCESS_KEY: rig.s3.secretAccessKey,
          READ_MODEL_URL: databaseUrl,
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      processes.push(child);
      child.stdout.setEncoding('utf8').on('data', (lines: string) => logged.push(lines));
      const exited = once(child, 'exit');
      await eventually(
        () =>
          fetch(`http://127.0.0.1:${opsPort}/readyz`).then(
            ({ ok }) => ok,
            () => child.exitCode !== null,
          ),
        (isReady) => isReady,
      );
      expect(child.exitCode).toBeNull();
      return {
        url: `http://127.0.0.1:${port}`,
        async kill() {
          child.kill('SIGKILL');
          await exited;
        },
      };
    }

    /** The session of the gateway that takes the streams in. */
    const leader = async (): Promise<number | undefined> => {
      const { rows } = await database.query<{ pid: number }>(
        `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      );
      return rows[0]?.pid;
    };
    const history = async (url: string): Promise<readonly string[]> => {
      const found: string[] = [];
      let page = '/v1/jobs?limit=200';
      for (;;) {
        const { body } = await rig.call<{ jobs: JobView[]; next?: string }>(`${url}${page}`);
        found.push(...body.jobs.map(({ id, state, updatedAt }) => `${id} ${state} ${updatedAt}`));
        if (body.next === undefined) return found;
        page = `/v1/jobs?limit=200&cursor=${encodeURIComponent(body.next)}`;
      }
    };
    const counts = async (url: string) => (await rig.call(`${url}/v1/jobs:counts`)).body;

    test('goes on when the one that takes the streams in is killed: nothing is missing and nothing twice', async () => {
      const workers = await rig.workers();
      const first = await startProcess('first');
      const leading = await leader();
      expect(leading).toBeDefined();
      const second = await startProcess('second');
      expect(await leader()).toBe(leading);

      const accepted: string[] = [];
      const stopping = new AbortController();
      const load = Promise.all(
        Array.from({ length: 4 }, async (_, line) => {
          for (let n = 0; !stopping.signal.aborted; n += 1) {
            const json = { to: `person-${line}-${n}@example.com`, template: 'welcome', variables: { name: 'Ada' } };
            const { status, body } = await rig.call<JobView>('/v1/emails', { json });
            // A busy broker may confirm too late: then nothing was promised.
            if (status === 202) accepted.push(body.id);
          }
        }),
      );
      await eventually(
        () => history(second.url),
        (all) => all.length >= 50,
      );
      await first.kill();
      const killedAt = accepted.length;
      await eventually(leader, (pid) => pid !== undefined && pid !== leading);
      // Some more while the second one takes in what the first one left, and what comes.
      await eventually(
        async () => accepted.length,
        (count) => count >= killedAt + 50,
      );
      stopping.abort();
      await load;

      const ended = await eventually(
        () => history(rig.gateway.url),
        (all) => all.length >= accepted.length && all.every((line) => line.includes(' succeeded ')),
      );
      const taken = await eventually(
        () => history(second.url),
        (all) => all.length >= ended.length && all.every((line) => line.includes(' succeeded ')),
      );
      expect(taken).toEqual(ended);
      const ids = new Set(taken.map((line) => line.split(' ', 1)[0]));
      expect(accepted.filter((id) => !ids.has(id))).toEqual([]);
      expect(ids.size).toBe(taken.length);
      expect(await counts(second.url)).toEqual(await counts(rig.gateway.url));
      await workers.stop();
      expect(logged).toEqual([]);
    });
  },
);
