import { isSubjectToken } from '@sluice/contracts';
import {
  buckets,
  changeEntry,
  deleteEntry,
  EntryContendedError,
  openBucket,
  valueOf,
  writeEntry,
} from '@sluice/messaging';
import type { TemplateVersion } from './template.ts';

/** What is kept of a template beside its versions. */
export interface TemplateHead {
  readonly name: string;
  /** The version that mails get. */
  readonly latest: number;
  /** Versions that are kept, oldest first, with the time each was made. */
  readonly versions: readonly { readonly version: number; readonly createdAt: string }[];
}

/** Templates of an account, and versions of one. */
export const templateCounts = { perAccount: 100, versions: 20 } as const;
/** A version is kept so long after a newer one took its place: mails that name it are tried for 6 days at most. */
const REPLACED_KEPT_MS = 7 * 24 * 3_600_000;

/** An account has as many templates, or a template as many versions of the last days, as it may. */
export class TooManyTemplatesError extends Error {
  override readonly name = 'TooManyTemplatesError';
  readonly code = 'too_many_templates';
}

/** The templates of accounts, for every process that shares the broker. A version never changes. */
export interface TemplateStore {
  /** @throws {TooManyTemplatesError} */
  add(account: string, version: Omit<TemplateVersion, 'version' | 'createdAt'>): Promise<TemplateVersion>;
  head(account: string, name: string): Promise<TemplateHead | undefined>;
  /** One version; the latest when none is named. */
  version(account: string, name: string, version?: number): Promise<TemplateVersion | undefined>;
  list(account: string): Promise<TemplateHead[]>;
  /** Deletes a template with all its versions. @returns false when there was none. */
  remove(account: string, name: string): Promise<boolean>;
}

/** What is left of the templates that an account deleted: one entry, however many they were. */
interface Deleted {
  /** No new template has a version up to here: mails that wait may name versions of one that was deleted. */
  readonly highest: number;
}

const isDeleted = (value: object): value is Deleted => 'highest' in value;
const isHead = (value: object): value is TemplateHead => 'latest' in value && 'versions' in value;
const isVersion = (value: object): value is TemplateVersion => 'compiled' in value && 'definition' in value;

/** Whether a text can name a template: it becomes a part of a key. */
export const isTemplateKey = (name: string): boolean => /^[a-z][a-z0-9-]{0,63}$/.test(name);

/** Versions that a process keeps at hand, some 100 KiB each. */
const CACHED = 100;

/** Opens the templates. */
export async function openTemplates(
  nc: Parameters<typeof openBucket>[0],
  now: () => number = Date.now,
): Promise<TemplateStore> {
  const bucket = await openBucket(nc, buckets.mailTemplates);
  const cache = new Map<string, TemplateVersion>();
  const headKey = (account: string, name: string): string => `${account}.${name}`;
  const versionKey = (account: string, name: string, version: number): string => `${account}.${name}.${version}`;
  const deletedKey = (account: string): string => account;
  const forget = (revision: number): Promise<boolean> => deleteEntry(nc, buckets.mailTemplates, revision);
  const forgetVersion = async (account: string, name: string, version: number): Promise<void> => {
    const key = versionKey(account, name, version);
    cache.delete(key);
    const entry = await bucket.get(key);
    if (entry !== null) await forget(entry.revision);
  };
  const isKnown = (account: string, name: string): boolean => isSubjectToken(account) && isTemplateKey(name);
  const head = async (account: string, name: string): Promise<TemplateHead | undefined> =>
    isKnown(account, name) ? valueOf(await bucket.get(headKey(account, name)), isHead) : undefined;

  const list = async (account: string): Promise<TemplateHead[]> => {
    const heads: TemplateHead[] = [];
    if (!isSubjectToken(account)) return heads;
    for await (const key of await bucket.keys(`${account}.*`)) {
      const found = valueOf(await bucket.get(key), isHead);
      if (found !== undefined) heads.push(found);
    }
    return heads.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  };

  return {
    head,
    list,
    async add(account, template) {
      const { name } = template;
      if (!isKnown(account, name)) throw new TypeError('the account or the name cannot be a key');
      const before = await head(account, name);
      if (before === undefined && (await list(account)).length >= templateCounts.perAccount) {
        throw new TooManyTemplatesError(`an account has at most ${templateCounts.perAccount} templates`);
      }
      const createdAt = new Date(now()).toISOString();
      for (;;) {
        const entry = await bucket.get(headKey(account, name));
        const known = valueOf(entry, isHead);
        const kept = known?.versions ?? [];
        const full = kept.length >= templateCounts.versions;
        if (full && now() - Date.parse(kept[1]?.createdAt ?? createdAt) < REPLACED_KEPT_MS) {
          throw new TooManyTemplatesError(
            `a template has at most ${templateCounts.versions} versions, and the oldest may still be needed by mails of the last 7 days`,
          );
        }
        // No number comes back. The marker of a template that an older version deleted has a higher one than it had.
        const before = valueOf(await bucket.get(deletedKey(account)), isDeleted)?.highest ?? 0;
        const number = known === undefined ? Math.max(entry?.revision ?? 0, before) + 1 : known.latest + 1;
        const version: TemplateVersion = { ...template, version: number, createdAt };
        // The version before the head that names it. Of two writers one makes it, and the other takes the next number.
        const key = versionKey(account, name, number);
        const made = (await writeEntry(bucket, key, JSON.stringify(version), 0)) !== undefined;
        await changeEntry(bucket, headKey(account, name), (current) => {
          const before = valueOf(current, isHead);
          if (before !== undefined && before.latest >= number) return undefined;
          const versions = [...(before?.versions ?? []), { version: number, createdAt }];
          return JSON.stringify({ name, latest: number, versions: versions.slice(-templateCounts.versions) });
        });
        if (!made) continue;
        const [oldest] = kept;
        if (full && oldest !== undefined) await forgetVersion(account, name, oldest.version);
        return version;
      }
    },
    async version(account, name, wanted) {
      const version = wanted ?? (await head(account, name))?.latest;
      if (version === undefined || !isKnown(account, name)) return undefined;
      const key = versionKey(account, name, version);
      const cached = cache.get(key);
      if (cached !== undefined) return cached;
      const found = valueOf(await bucket.get(key), isVersion);
      if (found === undefined) return undefined;
      if (cache.size >= CACHED) cache.delete(cache.keys().next().value ?? key);
      cache.set(key, found);
      return found;
    },
    async remove(account, name) {
      if (!isKnown(account, name)) return false;
      for (let round = 0; round < REMOVE_ROUNDS; round += 1) {
        const entry = await bucket.get(headKey(account, name));
        const found = valueOf(entry, isHead);
        if (entry === null || found === undefined) return round > 0;
        await changeEntry(bucket, deletedKey(account), (current) => {
          const before = valueOf(current, isDeleted)?.highest ?? 0;
          return found.latest <= before ? undefined : JSON.stringify({ highest: found.latest } satisfies Deleted);
        });
        // The head last: a repeat finds what is left.
        for (const { version } of found.versions) await forgetVersion(account, name, version);
        if (await forget(entry.revision)) return true;
      }
      throw new EntryContendedError(headKey(account, name), REMOVE_ROUNDS);
    },
  };
}

/** Deleting a template that is written at the same time begins anew with what was written. */
const REMOVE_ROUNDS = 16;
