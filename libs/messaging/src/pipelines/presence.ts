import type { NatsPort, Observer, State } from '@sluice/pipeline';
import type { PipelineHost } from './host.ts';

/** Core messages, kept nowhere: one that is missed is followed by the next. A subject for each service. */
const SUBJECT = 'control.presence';
const EVERY_MS = 400;

/** A replica that has not been heard for this long is taken for gone: three heartbeats. */
export const SILENT_MS = 1_200;
/** How long a replica that is silent goes on being told of. */
const FORGET_MS = 60_000;
/** Replicas that are told of at once. What a service with a wrong setting makes up must not fill the memory. */
const MOST_REPLICAS = 1_000;
const MOST_BYTES = 64 * 1024;

/** A pipeline of a replica, as it says it is. */
export interface PipelinePresence {
  readonly name: string;
  readonly state: State;
  /** Handlers that run now. */
  readonly inFlight: number;
  /** Messages that are held and wait for a handler. */
  readonly buffered: number;
  /** Handler runs that ended since the start of the process. */
  readonly handled: number;
}

/** What a replica says of itself. */
export interface Presence {
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  readonly startedAt: string;
  /** Why it is not at work; empty when it is. */
  readonly reasons: readonly string[];
  /** Which of its pipelines wait for what, in words, while the others go on. Earlier versions do not say. */
  readonly held?: readonly string[];
  readonly pipelines: readonly PipelinePresence[];
  /** It stops, and is not to be waited for. */
  readonly leaving: boolean;
}

/** Tells the gateway several times a second that this replica is there, and what it does. */
export interface PresenceAnnouncer {
  /** Counts what the pipelines handle: give it to their host. */
  readonly observe: Observer;
  /** Tells of the pipelines of a host from now on, and of what holds single ones up. */
  follow(host: Pick<PipelineHost, 'running' | 'reasons'>, held?: () => readonly string[]): void;
  /** Says that the replica goes, and stops telling. Safe to call twice. */
  leave(): void;
}

/** Begins to tell. Best effort: nothing waits for it and nothing fails with it. */
export function announcePresence(
  port: NatsPort,
  who: Pick<Presence, 'service' | 'instance' | 'version'>,
  now: () => number = Date.now,
): PresenceAnnouncer {
  const startedAt = new Date(now()).toISOString();
  const handled = new Map<string, number>();
  let host: Pick<PipelineHost, 'running' | 'reasons'> | undefined;
  let heldNow: () => readonly string[] = () => [];
  const tell = (leaving: boolean): void => {
    if (!port.connected) return;
    const presence: Presence = {
      ...who,
      startedAt,
      reasons: host?.reasons() ?? [],
      held: heldNow(),
      pipelines: (host?.running ?? []).map(({ name, pipeline }) => {
        const { state, inFlight, buffered } = pipeline.snapshot();
        return { name, state, inFlight, buffered, handled: handled.get(name) ?? 0 };
      }),
      leaving,
    };
    port.send(`${SUBJECT}.${who.service}`, JSON.stringify(presence));
  };
  const timer = setInterval(() => tell(false), EVERY_MS);
  timer.unref();
  tell(false);
  let left = false;
  return {
    observe(event) {
      if (event.type === 'message.handled') handled.set(event.pipeline, (handled.get(event.pipeline) ?? 0) + 1);
    },
    follow(given, held = () => []) {
      host = given;
      heldNow = held;
    },
    leave() {
      clearInterval(timer);
      if (!left) tell(true);
      left = true;
    },
  };
}

/** A replica as it was heard. */
export interface Replica extends Omit<Presence, 'leaving' | 'held' | 'pipelines'> {
  readonly held: readonly string[];
  /** Since it was last heard. */
  readonly silentMs: number;
  readonly pipelines: readonly (PipelinePresence & { readonly ratePerSecond: number })[];
}

/** The replicas of all services, as they are heard now. */
export interface ReplicaWatch {
  replicas(): readonly Replica[];
  close(): void;
}

/** Hears which replicas there are. One that stops is gone at once; one that is silent is told of for another minute. */
export function watchReplicas(port: NatsPort, now: () => number = () => performance.now()): ReplicaWatch {
  const heard = new Map<string, { replica: Omit<Replica, 'silentMs'>; atMs: number }>();
  const subscription = port.subscribe(`${SUBJECT}.*`, ({ subject, data }) => {
    const presence = presenceOf(data);
    // A service speaks for itself alone: its subject is what its password allows.
    if (presence === undefined || subject !== `${SUBJECT}.${presence.service}`) return;
    const key = `${presence.service}/${presence.instance}`;
    if (presence.leaving) {
      heard.delete(key);
      return;
    }
    const before = heard.get(key);
    if (before === undefined && heard.size >= MOST_REPLICAS) return;
    const atMs = now();
    const seconds = before === undefined ? 0 : (atMs - before.atMs) / 1_000;
    const { leaving: _, held = [], pipelines, ...rest } = presence;
    heard.set(key, {
      atMs,
      replica: {
        ...rest,
        held,
        pipelines: pipelines.map((pipeline) => {
          const earlier = before?.replica.pipelines.find(({ name }) => name === pipeline.name);
          return { ...pipeline, ratePerSecond: rateOf(earlier, pipeline.handled, seconds) };
        }),
      },
    });
  });
  return {
    replicas() {
      const atMs = now();
      for (const [key, entry] of heard) if (atMs - entry.atMs > FORGET_MS) heard.delete(key);
      return [...heard.values()]
        .map((entry) => ({ ...entry.replica, silentMs: Math.max(0, Math.round(atMs - entry.atMs)) }))
        .sort((a, b) => a.service.localeCompare(b.service) || a.instance.localeCompare(b.instance));
    },
    close: () => subscription.unsubscribe(),
  };
}

/** Of the change between two heartbeats, smoothed over some seconds. */
const SMOOTHING = 0.25;
function rateOf(
  earlier: { readonly handled: number; readonly ratePerSecond: number } | undefined,
  handled: number,
  seconds: number,
): number {
  // Fewer than before: the process was started again under the same name.
  if (earlier === undefined || seconds <= 0 || handled < earlier.handled) return 0;
  const rate = earlier.ratePerSecond + SMOOTHING * ((handled - earlier.handled) / seconds - earlier.ratePerSecond);
  return rate < 0.01 ? 0 : rate;
}

function presenceOf(data: Uint8Array): Presence | undefined {
  if (data.length > MOST_BYTES) return undefined;
  try {
    const value = JSON.parse(new TextDecoder().decode(data)) as Partial<Presence>;
    const isPresence =
      typeof value.service === 'string' &&
      typeof value.instance === 'string' &&
      typeof value.version === 'string' &&
      typeof value.startedAt === 'string' &&
      Array.isArray(value.reasons) &&
      (value.held === undefined || Array.isArray(value.held)) &&
      Array.isArray(value.pipelines) &&
      value.pipelines.every(({ name, handled }) => typeof name === 'string' && Number.isFinite(handled));
    return isPresence ? (value as Presence) : undefined;
  } catch {
    return undefined;
  }
}
