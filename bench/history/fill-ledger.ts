import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { channels, CreditEntryKind, CreditEntrySchema } from '@sluice/contracts';
import { newJobId } from '@sluice/jobs';
import { connectNats, createBus } from '@sluice/messaging';

const ACCOUNTS = 1_000;
const GRANT = 1_000_000;
/** Entries on their way to the broker at once. */
const WINDOW = 512;

/**
 * Writes a ledger of charges, whose jobs no request made, over a thousand accounts of which `account` is the first.
 * Resolves with the balance of that one.
 */
export async function fillLedger(natsUrl: string, entries: number, account: string): Promise<number> {
  const bus = await createBus(await connectNats({ url: natsUrl, name: 'bench-ledger' }));
  try {
    const accounts = Array.from({ length: ACCOUNTS }, (_, n) => ({
      name: n === 0 ? account : `account-${n}`,
      balance: 0n,
      previous: 0n,
    }));
    // Published in the order of their sequences: the stream has this one writer.
    let sequence = 0n;
    for (let from = 0; from < entries; from += WINDOW) {
      const publishes = Array.from({ length: Math.min(WINDOW, entries - from) }, (_, i) => {
        const to = accounts[(from + i) % ACCOUNTS]!;
        const isFirst = to.previous === 0n;
        const amount = isFirst ? BigInt(GRANT) : -1n;
        to.balance += amount;
        const entry = create(CreditEntrySchema, {
          account: to.name,
          kind: isFirst ? CreditEntryKind.GRANT : CreditEntryKind.CHARGE,
          amount,
          balance: to.balance,
          ...(isFirst ? {} : { jobId: newJobId() }),
          at: timestampFromMs(Date.now()),
          previous: to.previous,
        });
        sequence += 1n;
        to.previous = sequence;
        return bus.publish(channels.credits, entry, { values: { account: to.name }, id: randomUUID() });
      });
      await Promise.all(publishes);
    }
    return Number(accounts[0]?.balance);
  } finally {
    await bus.close();
  }
}
