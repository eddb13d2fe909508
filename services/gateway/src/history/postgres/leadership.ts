import { Client } from 'pg';

/** Of the advisory lock: any number, the same in every version. */
const LOCK = 7_358_291_164;

/** Who takes the streams in. */
export interface Leadership {
  /** Whether this process does; tries to become it when no other process is. */
  holds(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * A lock of a session: PostgreSQL gives it up when the session ends, with the process or with its connection. A process
 * that is cut off and goes on is stopped by the position, which it finds moved.
 */
export function holdLeadership(url: string, onFault: (error: unknown) => void): Leadership {
  let client: Client | undefined;
  let isLeader = false;
  let asking: Promise<boolean> | undefined;
  let closed = false;

  const drop = (): void => {
    isLeader = false;
    client = undefined;
  };

  async function ask(): Promise<boolean> {
    if (isLeader || closed) return isLeader;
    if (client === undefined) {
      const opened = new Client({
        connectionString: url,
        connectionTimeoutMillis: 5_000,
        query_timeout: 5_000,
        application_name: 'sluice-history-leader',
        keepAlive: true,
      });
      opened.on('error', onFault);
      opened.on('end', () => {
        if (client === opened) drop();
      });
      await opened.connect();
      client = opened;
    }
    const asked = client;
    const { rows } = await asked.query<{ held: boolean }>('SELECT pg_try_advisory_lock($1) AS held', [LOCK]);
    isLeader = client === asked && rows[0]?.held === true;
    return isLeader;
  }

  return {
    holds: () =>
      (asking ??= ask().finally(() => {
        asking = undefined;
      })),
    async close() {
      closed = true;
      const open = client;
      drop();
      await open?.end();
    },
  };
}
