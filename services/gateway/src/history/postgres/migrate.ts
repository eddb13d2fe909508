import { Kysely, PostgresDialect } from 'kysely';
import { Migrator } from 'kysely/migration';
import type { Pool } from 'pg';
import { migrations } from './schema.ts';

/**
 * Brings the schema up, and returns the names of the migrations that it ran. Kysely's migrator takes a lock, so that of
 * gateways that start together one does it.
 */
export async function migrate(pool: Pool): Promise<readonly string[]> {
  // Its own destroy would end the pool, which is not its to end.
  const db = new Kysely<never>({ dialect: new PostgresDialect({ pool }) });
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: 'history_migration',
    migrationLockTableName: 'history_migration_lock',
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
  return results.map(({ migrationName }) => migrationName);
}
