import type { KV } from '@nats-io/kv';
import { changeEntry } from '@sluice/messaging';
import type { ObjectStore } from '@sluice/storage';
import { GatewayError } from '../errors.ts';
import { InTurn } from '../in-turn.ts';
import { attachmentFolder, attachmentKey } from '../jobs/accept/mail-attachments.ts';

/** Bytes of one account unless told otherwise: at least 10,000 files. */
export const DEFAULT_ATTACHMENT_BYTES = 1_000_000_000;

/** How long the URL of an upload takes bytes. */
export const UPLOAD_MS = 10 * 60_000;

/** A PUT may begin at the end of its URL and take as long again to arrive. */
const PROMISED_MS = 2 * UPLOAD_MS;

/** What a file counts for at least: tiny files take entries of the store, and time to list them. */
const LEAST_BYTES = 100_000;

/** The entry of an account has to fit into one message of the broker. */
const MOST_PROMISED = 5_000;

/** What one account may store for its mails: the bytes that are there, and those that URLs were given out for. */
export interface AttachmentStorage {
  /**
   * Takes room for an upload, before its URL is given out.
   *
   * @throws {GatewayError} `storage_quota_exceeded`.
   * @throws {StoreError} or an error of the broker, when it cannot be known how much is stored.
   */
  reserve(account: string, uploadId: string, sizeBytes: number): Promise<void>;
}

interface Promised {
  readonly key: string;
  readonly bytes: number;
  /** From then on what is stored is what counts. */
  readonly untilMs: number;
}

export interface AttachmentStorageSettings {
  /** The bucket of `rates`: what an account was promised, the same for all replicas. */
  readonly leases: KV;
  readonly store: Pick<ObjectStore, 'list'>;
  readonly now: () => number;
  /** Bytes of one account; 0 for no limit. */
  readonly limitBytes: number;
}

export function attachmentStorage({ leases, store, now, limitBytes }: AttachmentStorageSettings): AttachmentStorage {
  /** Requests of an account to this replica take turns: only replicas compete for the entry. */
  const turns = new InTurn();
  const full = (): GatewayError =>
    new GatewayError(
      'storage_quota_exceeded',
      `The files for mails of an account take ${limitBytes / 1e6} MB at most. Delete some of them (DELETE /v1/uploads/{uploadId}), or wait: each is deleted nine days after its upload, and an upload that never came counts for 20 minutes.`,
    );

  /** What is in the store, as far as it matters. */
  const storedIn = async (folder: string): Promise<ReadonlyMap<string, number>> => {
    const stored = new Map<string, number>();
    let bytes = 0;
    for await (const { key, sizeBytes } of store.list(folder)) {
      const counted = Math.max(sizeBytes, LEAST_BYTES);
      stored.set(key, counted);
      bytes += counted;
      if (bytes > limitBytes) throw full();
    }
    return stored;
  };

  return {
    async reserve(account, uploadId, sizeBytes) {
      if (limitBytes === 0) return;
      const folder = attachmentFolder(account);
      // What arrives after this look is still promised when the entry is read: promises outlive their URLs.
      const stored = await storedIn(folder);
      await turns.run(folder, () =>
        changeEntry(leases, `attachments.${folder.split('/')[1]}`, (entry) => {
          const all = entry === null ? [] : (JSON.parse(entry.string()) as Promised[]);
          const promised = all.filter(({ untilMs }) => untilMs > now());
          const key = attachmentKey(uploadId, account);
          const bytes = Math.max(sizeBytes, LEAST_BYTES);
          const together = new Map([...stored, ...promised.map((each) => [each.key, each.bytes] as const)]);
          const taken = [...together.values()].reduce((sum, each) => sum + each, 0);
          if (taken + bytes > limitBytes || promised.length >= MOST_PROMISED) throw full();
          return JSON.stringify([...promised, { key, bytes, untilMs: now() + PROMISED_MS }]);
        }),
      );
    },
  };
}
