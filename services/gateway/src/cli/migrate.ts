/**
 * `pnpm migrate` brings the schema of the history in PostgreSQL up, as a start of a gateway does: a Job runs it before new
 * gateways start, so that no migration counts against the time that a start may take. Reads `READ_MODEL_URL`.
 */
import { errorText, parseCommand, UsageError } from '@sluice/cli';
import { loadConfig } from '@sluice/service';
import { Pool } from 'pg';
import { gatewayFields } from '../config.ts';
import { migrate } from '../history/postgres/migrate.ts';
import { placeName, readModelPlace } from '../history/read-model-url.ts';

const CONNECT_MS = 10_000;

parseCommand({
  name: 'pnpm migrate',
  usage: 'usage: pnpm migrate   bring the schema of the history up, in the PostgreSQL that READ_MODEL_URL names',
  options: {},
  maxPositionals: 0,
});
try {
  const { READ_MODEL_URL } = loadConfig({ READ_MODEL_URL: gatewayFields.READ_MODEL_URL });
  const place = readModelPlace(READ_MODEL_URL);
  if (place?.kind !== 'postgres') {
    throw new UsageError(
      'READ_MODEL_URL is no postgres:// URL; the gateway brings a file of its own up when it starts',
    );
  }
  const pool = new Pool({ connectionString: place.url, max: 2, connectionTimeoutMillis: CONNECT_MS });
  try {
    const ran = await migrate(pool);
    for (const name of ran) console.log(`ran      ${name}`);
    console.log(`the history at ${placeName(place)} is ${ran.length === 0 ? 'as it should be' : 'up to date'}`);
  } finally {
    await pool.end();
  }
} catch (error) {
  console.error(`pnpm migrate: ${errorText(error)}`);
  process.exit(error instanceof UsageError ? 2 : 1);
}
