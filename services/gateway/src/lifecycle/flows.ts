import type { KV } from '@nats-io/kv';
import { ApiProblem } from '../http/problem.ts';

/** What an app says its messages go through, in order. */
export interface Flow {
  /** The account that spoke for the app first; nobody else speaks for it or reads it. */
  readonly account: string;
  readonly events: readonly string[];
  /** How long after the first event all of them should have been seen. */
  readonly withinMs: number;
}

/** Where flows are kept. */
export const FLOWS = { name: 'flows', about: 'what apps declare their messages to go through', ttlMs: 0 } as const;

const DEFAULT_WITHIN_MS = 60_000;
const WRONG_LAST_SEQUENCE = 10_071;

/** What our own services tell of every message they work on. */
export const workFlow: readonly string[] = ['received', 'attempt', 'effect_done', 'acked'];

/** The apps that are known, held in memory and kept current by the store. */
export interface FlowBook {
  find(app: string): Flow | undefined;
  /**
   * Makes sure that the account may speak for the app; the first to do so owns it.
   *
   * @throws {ApiProblem} `forbidden`.
   */
  claim(app: string, account: string): Promise<void> | undefined;
  /** Declares what an app's messages go through. */
  declare(app: string, account: string, events: readonly string[], withinMs: number): Promise<Flow>;
  close(): void;
}

export async function openFlowBook(kv: KV): Promise<FlowBook> {
  const known = new Map<string, Flow>();
  const watch = await kv.watch();
  void (async () => {
    for await (const entry of watch) {
      if (entry.operation === 'PUT') known.set(entry.key, entry.json<Flow>());
      else known.delete(entry.key);
    }
  })();

  const read = async (app: string): Promise<Flow | undefined> => {
    const entry = await kv.get(app);
    return entry === null || entry.operation !== 'PUT' ? undefined : entry.json<Flow>();
  };
  const refuseOthers = (flow: Flow, account: string): void => {
    if (flow.account !== account) throw new ApiProblem('forbidden', 'This app_id is spoken for by another account.');
  };

  const create = async (app: string, account: string): Promise<void> => {
    const flow: Flow = { account, events: [], withinMs: DEFAULT_WITHIN_MS };
    const won = await kv.create(app, JSON.stringify(flow)).then(
      () => true,
      (error: unknown) => {
        if ((error as { code?: unknown }).code === WRONG_LAST_SEQUENCE) return false;
        throw error;
      },
    );
    const owner = won ? flow : await read(app);
    if (owner === undefined)
      throw new ApiProblem('unavailable', 'The app_id could not be registered.', { retryAfterSeconds: 1 });
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
      const before = known.get(app) ?? (await read(app));
      if (before !== undefined) refuseOthers(before, account);
      const flow: Flow = { account, events, withinMs };
      await kv.put(app, JSON.stringify(flow));
      known.set(app, flow);
      return flow;
    },
    close: () => watch.stop(),
  };
}
