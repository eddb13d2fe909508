import { buckets, openBucket, valueOf, watchBucket, writeEntry, type Bus } from '@sluice/messaging';
import { GatewayError } from '../errors.ts';

/** What an app says its messages go through, in order. */
export interface Flow {
  /** The account that spoke for the app first; nobody else speaks for it or reads it. */
  readonly account: string;
  readonly events: readonly string[];
  /** How long after the first event all of them should have been seen. */
  readonly withinMs: number;
}

const isFlow = (value: object): value is Flow => 'account' in value && 'events' in value && Array.isArray(value.events);

const DEFAULT_WITHIN_MS = 60_000;
const ROUNDS = 16;

/** What our own services tell of every message they work on. */
export const workFlow: readonly string[] = ['received', 'attempt', 'effect_done', 'acked'];

/** The apps that are known, held in memory and kept current by the store. */
export interface FlowBook {
  find(app: string): Flow | undefined;
  /**
   * Makes sure that the account may speak for the app; the first to do so owns it.
   *
   * @throws {GatewayError} `forbidden`.
   */
  claim(app: string, account: string): Promise<void> | undefined;
  /**
   * Declares what an app's messages go through.
   *
   * @throws {GatewayError} `forbidden`.
   */
  declare(app: string, account: string, events: readonly string[], withinMs: number): Promise<Flow>;
  close(): Promise<void>;
}

export async function openFlowBook(nc: Bus['nc'], onError?: (error: unknown, what: string) => void): Promise<FlowBook> {
  const kv = await openBucket(nc, buckets.flows);
  const known = new Map<string, Flow>();
  const watch = await watchBucket(nc, buckets.flows, {
    isValue: isFlow,
    onEntry(app, flow) {
      if (flow === undefined) known.delete(app);
      else known.set(app, flow);
    },
    ...(onError === undefined ? {} : { onError }),
  });

  const read = async (app: string): Promise<Flow | undefined> => valueOf(await kv.get(app), isFlow);
  const refuseOthers = (flow: Flow, account: string): void => {
    if (flow.account !== account) throw new GatewayError('forbidden', 'This app_id is spoken for by another account.');
  };

  /** Writes a flow unless somebody else wrote since the revision; 0 for an app nobody has spoken for. */
  const write = async (app: string, flow: Flow, revision: number): Promise<boolean> =>
    (await writeEntry(kv, app, JSON.stringify(flow), revision)) !== undefined;

  const create = async (app: string, account: string): Promise<void> => {
    const flow: Flow = { account, events: [], withinMs: DEFAULT_WITHIN_MS };
    const owner = (await write(app, flow, 0)) ? flow : await read(app);
    if (owner === undefined)
      throw new GatewayError('unavailable', 'The app_id could not be registered.', { retryAfterSeconds: 1 });
    known.set(app, owner);
    refuseOthers(owner, account);
  };

  return {
    find: (app) => known.get(app),
    claim(app, account) {
      const flow = known.get(app);
      if (flow === undefined) return create(app, account);
      refuseOthers(flow, account);
      return undefined;
    },
    async declare(app, account, events, withinMs) {
      const flow: Flow = { account, events, withinMs };
      for (let round = 0; round < ROUNDS; round += 1) {
        // Two accounts may declare an app at once: whose entry is second meets the first one's, and is refused.
        const entry = await kv.get(app);
        const before = valueOf(entry, isFlow);
        if (before !== undefined) refuseOthers(before, account);
        if (await write(app, flow, entry?.operation === 'PUT' ? entry.revision : 0)) {
          known.set(app, flow);
          return flow;
        }
      }
      throw new GatewayError('unavailable', 'The flow is being declared by others.', { retryAfterSeconds: 1 });
    },
    close: () => watch.stop(),
  };
}
