import { hashAddress } from '@sluice/suppression';
import { readEntry, writeEntry, type Bucket } from '../bucket.ts';

export interface QuotaSettings {
  readonly bucket: Bucket;
  /** Mails an account may send per UTC day; 0 for no limit. */
  readonly perAccountPerDay: number;
  /** Mails one address may get per UTC hour, from whomever; 0 for no limit. */
  readonly perRecipientPerHour: number;
  readonly now?: () => Date;
}

/** Which limit stands against a mail. */
export type QuotaScope = 'account' | 'recipient';

/** Limits that hold over all replicas. */
export interface Quota {
  /** Counts one mail, or says which limit it would break. The recipient is looked at first. */
  charge(account: string, recipient: string): Promise<QuotaScope | undefined>;
}

/**
 * Counts in fixed windows. An account's allowance is drawn from the bucket in blocks of a hundredth of its limit, because
 * one compare-and-set per mail of a busy account would lose most of its races; a block not used up before a restart is
 * forfeited, so the limit may be met up to 1 % early and is never exceeded.
 */
export function createQuota({ bucket, perAccountPerDay, perRecipientPerHour, now }: QuotaSettings): Quota {
  const clock = now ?? (() => new Date());
  const accountBlock = Math.max(1, Math.floor(perAccountPerDay / 100));
  const drawn = new Map<string, { left: number; drawing: Promise<void> | undefined }>();

  /** Takes `amount` of what a window has left: as much as there is, 0 when there is nothing. */
  const draw = async (key: string, amount: number, limit: number): Promise<number> => {
    for (let race = 0; race < MAX_RACES; race++) {
      const entry = await readEntry<number>(bucket, key);
      const used = entry?.value ?? 0;
      const granted = Math.min(amount, limit - used);
      if (granted <= 0) return 0;
      if ((await writeEntry(bucket, key, used + granted, entry?.revision ?? 0)) !== undefined) return granted;
    }
    throw new Error('the quota counter is contended');
  };

  const chargeAccount = async (account: string): Promise<boolean> => {
    if (perAccountPerDay === 0) return true;
    const key = `account.${hashAddress(account)}.${clock().toISOString().slice(0, 10)}`;
    let block = drawn.get(key);
    if (block === undefined) {
      // Yesterday's blocks are of no use any more.
      for (const old of drawn.keys()) if (!old.endsWith(key.slice(-10))) drawn.delete(old);
      drawn.set(key, (block = { left: 0, drawing: undefined }));
    }
    while (block.left === 0) {
      let empty = false;
      const current = block;
      // One draw at a time: those who come meanwhile wait for it and look again.
      current.drawing ??= draw(key, accountBlock, perAccountPerDay)
        .then((granted) => {
          current.left += granted;
          empty = granted === 0;
        })
        .finally(() => {
          current.drawing = undefined;
        });
      await current.drawing;
      if (empty) return false;
    }
    block.left -= 1;
    return true;
  };

  return {
    async charge(account, recipient) {
      if (perRecipientPerHour > 0) {
        const key = `recipient.${hashAddress(recipient)}.${clock().toISOString().slice(0, 13)}`;
        if ((await draw(key, 1, perRecipientPerHour)) === 0) return 'recipient';
      }
      return (await chargeAccount(account)) ? undefined : 'account';
    },
  };
}

const MAX_RACES = 50;
