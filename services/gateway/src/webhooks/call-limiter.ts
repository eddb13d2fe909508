/** How many calls may be on their way at once, and how many may wait for their turn. */
export interface CallLimits {
  readonly total: number;
  readonly perAccount: number;
  /** To a host that answers. Each answer adds one call, from `perNewHost` up to this. */
  readonly perHost: number;
  /** To a host that is not known to answer. One whose last call failed gets one at a time. */
  readonly perNewHost: number;
  /** Of an account's calls, those that are no first attempts. */
  readonly retriesPerAccount: number;
  readonly waitingPerAccount: number;
  readonly maxWaitMs: number;
}

export const defaultCallLimits: CallLimits = {
  total: 256,
  perAccount: 64,
  perHost: 8,
  perNewHost: 2,
  retriesPerAccount: 32,
  waitingPerAccount: 128,
  maxWaitMs: 15_000,
};

/** Whose call it is, where it goes, and whether it was tried before. */
export interface Caller {
  readonly account: string;
  readonly host: string;
  readonly retry: boolean;
}

/** To be called once when the call is over. */
export type Release = (outcome: 'reached' | 'failed') => void;

/**
 * Shares the calls of webhooks between accounts and hosts, so that slow receivers hold up their own calls only. A call
 * that cannot start waits: first attempts go before retries, then the account with the fewest calls, then who came first.
 */
export interface CallLimiter {
  /** Undefined when too many of the account's calls wait already, or the wait took too long: try again later. */
  acquire(caller: Caller): Promise<Release | undefined>;
  /** Whether a host is known to answer: then it gets more calls at once than a new one. */
  isAnswering(host: string): boolean;
  /** Refuses every call that waits, and every later one. */
  close(): void;
}

interface Waiting {
  readonly caller: Caller;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (release: Release | undefined) => void;
}

/** Hosts whose share is remembered. Beyond that the one heard of longest ago is new again. */
const KNOWN_HOSTS = 10_000;

export function createCallLimiter(limits: CallLimits = defaultCallLimits): CallLimiter {
  const accounts = new Map<string, { running: number; retries: number; waiting: number }>();
  const hosts = new Map<string, number>();
  const shares = new Map<string, number>();
  const queue = new Set<Waiting>();
  let running = 0;
  let closed = false;

  const account = (name: string) => {
    let counts = accounts.get(name);
    if (counts === undefined) accounts.set(name, (counts = { running: 0, retries: 0, waiting: 0 }));
    return counts;
  };
  const forget = (name: string): void => {
    const counts = accounts.get(name);
    if (counts !== undefined && counts.running + counts.waiting === 0) accounts.delete(name);
  };

  function mayStart({ account: name, host, retry }: Caller): boolean {
    const counts = accounts.get(name);
    return (
      running < limits.total &&
      (counts?.running ?? 0) < limits.perAccount &&
      (!retry || (counts?.retries ?? 0) < limits.retriesPerAccount) &&
      (hosts.get(host) ?? 0) < (shares.get(host) ?? limits.perNewHost)
    );
  }

  function start({ account: name, host, retry }: Caller): Release {
    const counts = account(name);
    running += 1;
    counts.running += 1;
    if (retry) counts.retries += 1;
    hosts.set(host, (hosts.get(host) ?? 0) + 1);
    let over = false;
    return (outcome) => {
      if (over) return;
      over = true;
      running -= 1;
      counts.running -= 1;
      if (retry) counts.retries -= 1;
      const left = (hosts.get(host) ?? 1) - 1;
      if (left === 0) hosts.delete(host);
      else hosts.set(host, left);
      const share = (shares.get(host) ?? limits.perNewHost) + 1;
      shares.delete(host);
      shares.set(host, outcome === 'failed' ? 1 : Math.min(limits.perHost, share));
      if (shares.size > KNOWN_HOSTS) shares.delete(shares.keys().next().value!);
      startNext();
      forget(name);
    };
  }

  function leave(waiting: Waiting, release: Release | undefined): void {
    clearTimeout(waiting.timer);
    queue.delete(waiting);
    account(waiting.caller.account).waiting -= 1;
    forget(waiting.caller.account);
    waiting.resolve(release);
  }

  /** More than one may start: a host that answered has more room than the one call that is over. */
  function startNext(): void {
    for (;;) {
      let best: Waiting | undefined;
      for (const waiting of queue) {
        if (mayStart(waiting.caller) && (best === undefined || goesBefore(waiting.caller, best.caller))) best = waiting;
      }
      if (best === undefined) return;
      leave(best, start(best.caller));
    }
  }

  const goesBefore = (a: Caller, b: Caller): boolean => {
    if (a.retry !== b.retry) return !a.retry;
    return (accounts.get(a.account)?.running ?? 0) < (accounts.get(b.account)?.running ?? 0);
  };

  return {
    acquire(caller) {
      if (closed) return Promise.resolve(undefined);
      if (mayStart(caller)) return Promise.resolve(start(caller));
      const counts = account(caller.account);
      if (counts.waiting >= limits.waitingPerAccount) return Promise.resolve(undefined);
      counts.waiting += 1;
      return new Promise((resolve) => {
        const timer = setTimeout(() => leave(waiting, undefined), limits.maxWaitMs);
        const waiting: Waiting = { caller, timer, resolve };
        queue.add(waiting);
      });
    },
    isAnswering: (host) => (shares.get(host) ?? limits.perNewHost) > limits.perNewHost,
    close() {
      closed = true;
      for (const waiting of queue) leave(waiting, undefined);
    },
  };
}
