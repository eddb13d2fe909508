/**
 * Where a running pipeline is.
 *
 * - `starting`: checking the live consumers. Leads to `running`, or `start` rejects.
 * - `running`: pulling and handling.
 * - `paused`: `pause` was called; nothing is pulled. `resume` leads back.
 * - `tripped`: the breaker stopped pulling; a probe after the cool-down leads back.
 * - `disconnected`: no connection, or a stream or consumer is missing. Handlers run on, settlements are held.
 * - `draining`: `drain` was called; ends in `stopped`.
 * - `stopped`: nothing is held any more. Final.
 */
export type State = 'starting' | 'running' | 'paused' | 'tripped' | 'disconnected' | 'draining' | 'stopped';

/** What a drain did with the messages the pipeline held when it began. */
export interface DrainReport {
  /** Handled to the end (or settled without running). */
  readonly settled: number;
  /** Nak'ed without a delay, not started or aborted; other replicas get them at once. */
  readonly released: number;
  /** Neither: the server did not hear from us (unreachable), it redelivers them after ack_wait. */
  readonly abandoned: number;
}

/** Gauges of this instant. */
export interface Snapshot {
  readonly state: State;
  /** Handlers running now. */
  readonly inFlight: number;
  /** Held here, not started. */
  readonly buffered: number;
  /** Asked of the server and not yet delivered. */
  readonly requested: number;
  /** Messages beyond `concurrency` that may be held: the adaptive prefetch. */
  readonly prefetch: number;
  /** Acks sent and not yet confirmed by a round trip. */
  readonly unconfirmedAcks: number;
  /** Settlements waiting for the connection to come back. */
  readonly heldSettlements: number;
  /** Handlers that timed out, were told to stop and have not returned. */
  readonly hungHandlers: number;
  /** Messages this pipeline nak'ed with a delay that are not due yet: they occupy the consumer's max_ack_pending. */
  readonly parked: number;
  /** Held here, not started, under `limits`. */
  readonly limited: number;
  /** Sent back because of a limit and not yet due: they occupy the consumer's max_ack_pending. */
  readonly deferred: number;
  /** Messages waiting in the stream for these consumers, as of the newest delivery of each. */
  readonly lag: number;
  /** Connections so far: grows by one per reconnect. */
  readonly connections: number;
  /** Partitions that this replica reads; 0 without partitions. */
  readonly partitions: number;
}

/**
 * What holds a pipeline up.
 *
 * - `stalled`, `missing`, `consumerChanged`, `pausedByServer`, `refused`, `permissionDenied`: of one source.
 * - `ackPendingFull`: the consumer hands out nothing new, and not because of what this process holds.
 * - `retriesParked`: max_ack_pending is taken by messages that wait for their retry.
 * - `limitStoreFails`: what replicas share limits through cannot be reached. Nothing starts when the leases have ended.
 * - `deferralsFull`: as many messages as may be wait elsewhere for their limit; others may wait behind those that come.
 * - `notCaughtUp`: messages have waited in the stream for a minute on end.
 * - `partitionsUnread`: no replica has read a partition for 15 seconds.
 */
export type ConditionCode =
  | 'stopped'
  | 'notConnected'
  | 'stalled'
  | 'missing'
  | 'consumerChanged'
  | 'pausedByServer'
  | 'refused'
  | 'permissionDenied'
  | 'idempotencyStoreFails'
  | 'retriesParked'
  | 'ackPendingFull'
  | 'handlersHung'
  | 'limitStoreFails'
  | 'deferralsFull'
  | 'notCaughtUp'
  | 'partitionsUnread';

export interface Condition {
  readonly code: ConditionCode;
  /** In one line, for a person. */
  readonly detail: string;
  /** True: the pipeline makes no progress. False: worth knowing. */
  readonly serious: boolean;
}

/** What is told of one partitioned source. */
export interface PartitionShare {
  readonly stream: string;
  readonly consumer: string;
  readonly count: number;
  /** Partitions that this replica reads. */
  readonly held: readonly number[];
  /** Partitions that no replica has read for 15 s. */
  readonly unread: readonly number[];
  /** Replicas that share them, this one included. */
  readonly replicas: number;
}

/** Whether the pipeline makes progress, which a live connection alone does not prove. */
export interface Health {
  readonly ok: boolean;
  /** When not ok: what is wrong, in one line. */
  readonly reason: string | undefined;
  /** Everything that holds the pipeline up, and what is worth knowing beside it. */
  readonly conditions: readonly Condition[];
  /** Time since the server last answered a pull, with a message or a heartbeat. */
  readonly silentMs: number;
  /** For each source with partitions: which this replica reads, and which none does. */
  readonly partitions: readonly PartitionShare[];
}

/** Why a message does not run at this moment, as far as this process knows. */
export type Explanation = Why & {
  /** The partition it is in, when its source has partitions. */
  readonly partition?: number;
};

type Why =
  /** Not delivered to this process: it waits in the stream, or another replica has it. */
  | { readonly state: 'notHeld' }
  /** Its handler runs, or its outcome is being carried out. */
  | { readonly state: 'running'; readonly forMs: number }
  /** It waits for its retry, or for the idempotency store. */
  | { readonly state: 'backingOff'; readonly forMs: number }
  /** So many messages of its key come before it; the first is processed or waits for its retry. */
  | { readonly state: 'orderKeyBusy'; readonly key: string; readonly ahead: number }
  /**
   * It waits for a limit in all or of its key, behind so many of its key here. It lacks a token (`rate`), a free place
   * (`concurrency`), or other replicas hold all of the limit (`lease`).
   */
  | {
      readonly state: 'limited';
      readonly limit: 'all' | 'perKey';
      readonly lacks: 'rate' | 'concurrency' | 'lease';
      readonly key: string | undefined;
      readonly ahead: number;
      readonly forMs: number;
    }
  /** It was sent back because of a limit (`slots`: others take their turn first), and comes again. */
  | { readonly state: 'deferred'; readonly limit: 'all' | 'perKey' | 'slots'; readonly forMs: number }
  /** The rate limit has no token for it. */
  | { readonly state: 'rateLimited'; readonly forMs: number }
  /** Nothing is started: see the pipeline's state. */
  | { readonly state: 'paused' | 'tripped' | 'disconnected' | 'draining' | 'stopped' }
  /** Its partition came to this replica, and what the last one left unsettled is not all here yet. */
  | { readonly state: 'takingOver' }
  /** It starts when a slot is free, behind so many of its source, or when its batch closes. */
  | { readonly state: 'queued'; readonly ahead: number };

export interface RunningPipeline extends AsyncDisposable {
  readonly state: State;
  /** Resolves when the pipeline has stopped; rejects with a `PipelineFault` when the process should be restarted. */
  readonly done: Promise<void>;
  /** Stops pulling; resolves when nothing runs any more. What is held and not started goes back to the server. */
  pause(reason: string): Promise<void>;
  resume(): void;
  /** Changes the token bucket while running; `undefined` lifts the limit. */
  setRate(rate: { limit: number; perMs: number; burst?: number } | undefined): void;
  /**
   * Changes how many handlers (or batches) run at once. Fewer: running ones finish, no new one starts until there is a
   * free slot. Throws a `RangeError` for a number that the spec could not have, or that max_ack_pending cannot hold.
   */
  setConcurrency(concurrency: number): void;
  /**
   * Gives up one message that is held here: its handler's signal is aborted (`CANCELLED`), or it is not started, and it
   * becomes a dead letter with the reason `cancelled`, also when its handler returns normally. False: it is not held here, is being
   * settled, or is in a batch. `source` is its place in the list of sources.
   */
  cancel(sequence: number, options?: { readonly source?: number; readonly reason?: string }): boolean;
  /** Ends in order: see the drain diagram in the README. Repeated calls share one drain. */
  drain(options?: { timeoutMs?: number }): Promise<DrainReport>;
  snapshot(): Snapshot;
  health(): Health;
  /** Why a message waits; `source` is its place in the list of sources. */
  explain(sequence: number, source?: number): Explanation;
}
