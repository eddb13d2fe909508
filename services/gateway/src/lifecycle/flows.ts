import {
  buckets,
  type Bus,
  changeEntry,
  lifetimes,
  openBucket,
  valueOf,
  watchBucket,
  writeEntry,
} from '@sluice/messaging';
import { GatewayError } from '../errors.ts';

/** What an app says its messages go through, in order. */
export interface Flow {
  /** The account that spoke for the app first; no other speaks for it or reads it. */
  readonly account: string;
  readonly events: readonly string[];
  /** How long after the first event all of them should have been seen. */
  readonly withinMs: number;
  /** When the account last spoke for the app, to the day: an unused entry makes room for another. */
  readonly usedMs?: number;
}

const isFlow = (value: object): value is Flow => 'account' in value && 'events' in value && Array.isArray(value.events);

/** Apps of one account. Each is an entry in the bucket and in the memory of every replica. */
export const MAX_APPS = 1_000;
const DAY_MS = lifetimes.day;
/** Longer than `EVENTS` keeps: then nothing is left that the next owner of the app could read. */
const UNUSED_MS = lifetimes.event + DAY_MS;
const DEFAULT_WITHIN_MS = 60_000;

/** What our own services tell of every message they work on. */
export const workFlow: readonly string[] = ['received', 'attempt', 'effect_done', 'acked'];

/** The apps that are known, held in memory and kept current by the store. */
export interface FlowStore {
  find(app: string): Flow | undefined;
  /** The apps that an account speaks for, by name: `MAX_APPS` at most. */
  list(account: string): readonly { readonly app: string; readonly flow: Flow }[];
  /**
   * Makes sure that the account may speak for the apps; the first to do so owns one. All of them, or none.
   *
   * @throws {GatewayError} `forbidden`, also when the account would have more apps than `MAX_APPS`.
   */
  claim(apps: readonly string[], account: string): Promise<void> | undefined;
  /**
   * Declares what an app's messages go through.
   *
   * @throws {GatewayError} `forbidden`.
   */
  declare(app: string, account: string, events: readonly string[], withinMs: number): Promise<Flow>;
  close(): Promise<void>;
}

export async function openFlowStore(
  nc: Bus['nc'],
  {
    now = Date.now,
    onError,
  }: { readonly now?: () => number; readonly onError?: (error: unknown, what: string) => void } = {},
): Promise<FlowStore> {
  const kv = await openBucket(nc, buckets.flows);
  const known = new Map<string, Flow>();
  /** The same entries by account. */
  const appsOf = new Map<string, Set<string>>();
  const learn = (app: string, flow: Flow | undefined): void => {
    const before = known.get(app);
    if (before !== undefined && before.account !== flow?.account) {
      const apps = appsOf.get(before.account);
      apps?.delete(app);
      if (apps?.size === 0) appsOf.delete(before.account);
    }
    if (flow === undefined) {
      known.delete(app);
      return;
    }
    known.set(app, flow);
    const apps = appsOf.get(flow.account) ?? new Set();
    appsOf.set(flow.account, apps.add(app));
  };
  const watch = await watchBucket(nc, buckets.flows, {
    isValue: isFlow,
    onEntry: learn,
    ...(onError === undefined ? {} : { onError }),
  });

  const read = async (app: string): Promise<Flow | undefined> => valueOf(await kv.get(app), isFlow);
  const refuseOthers = (flow: Flow, account: string): void => {
    if (flow.account !== account) throw new GatewayError('forbidden', 'This app_id is spoken for by another account.');
  };

  /** Writes a flow unless another writer was first since the revision; 0 for an app without an owner. */
  const write = async (app: string, flow: Flow, revision: number): Promise<boolean> =>
    (await writeEntry(kv, app, JSON.stringify(flow), revision)) !== undefined;

  const create = async (app: string, account: string): Promise<void> => {
    const flow: Flow = { account, events: [], withinMs: DEFAULT_WITHIN_MS, usedMs: now() };
    const owner = (await write(app, flow, 0)) ? flow : await read(app);
    if (owner === undefined)
      throw new GatewayError('unavailable', 'The app_id could not be registered.', { retryAfterSeconds: 1 });
    learn(app, owner);
    refuseOthers(owner, account);
  };

  /** Writes down that an app is in use. A concurrent change of the entry is a use as well. */
  const touch = async (app: string): Promise<void> => {
    const entry = await kv.get(app);
    const flow = valueOf(entry, isFlow);
    if (entry === null || flow === undefined) return;
    const used = { ...flow, usedMs: now() };
    if (await write(app, used, entry.revision)) learn(app, used);
  };

  /** Lets an account have so many apps more: those it has not spoken for in a while, and declared nothing of, go. */
  const makeRoom = async (account: string, wanted: number): Promise<void> => {
    const apps = appsOf.get(account) ?? new Set();
    if (apps.size + wanted <= MAX_APPS) return;
    const unused = [...apps].filter((app) => {
      const { events, usedMs = Infinity } = known.get(app)!;
      return events.length === 0 && now() - usedMs >= UNUSED_MS;
    });
    if (apps.size - unused.length + wanted > MAX_APPS) {
      throw new GatewayError(
        'forbidden',
        `An account speaks for at most ${MAX_APPS} app_ids: use fewer, and put what differs from message to message into message_id.`,
      );
    }
    for (const app of unused) {
      await kv.purge(app);
      learn(app, undefined);
    }
  };

  return {
    find: (app) => known.get(app),
    list: (account) => [...(appsOf.get(account) ?? [])].sort().map((app) => ({ app, flow: known.get(app)! })),
    claim(apps, account) {
      const unknown = new Set<string>();
      const stale: string[] = [];
      for (const app of apps) {
        const flow = known.get(app);
        if (flow === undefined) unknown.add(app);
        else {
          refuseOthers(flow, account);
          if (now() - (flow.usedMs ?? 0) >= DAY_MS) stale.push(app);
        }
      }
      if (unknown.size === 0 && stale.length === 0) return undefined;
      return (async () => {
        await makeRoom(account, unknown.size);
        for (const app of unknown) await create(app, account);
        for (const app of new Set(stale)) await touch(app);
      })();
    },
    async declare(app, account, events, withinMs) {
      const flow: Flow = { account, events, withinMs, usedMs: now() };
      if (!known.has(app)) await makeRoom(account, 1);
      // Two accounts may declare an app at once: whose entry is second meets the first one's, and is refused.
      await changeEntry(kv, app, (entry) => {
        const before = valueOf(entry, isFlow);
        if (before !== undefined) refuseOthers(before, account);
        return JSON.stringify(flow);
      });
      learn(app, flow);
      return flow;
    },
    close: () => watch.stop(),
  };
}
