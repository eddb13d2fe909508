/** A durable pull consumer. Acks are explicit and the server never gives up (`max_deliver` -1): the engine counts. */
export interface ConsumerSpec {
  readonly name: string;
  readonly filterSubjects: readonly string[];
  /** Short, because the engine sends heartbeats for the messages it holds: a crash shows after this long. */
  readonly ackWaitMs: number;
  /** Over all replicas. Delayed retries count too, so it must hold the retry backlog besides the work in hand. */
  readonly maxAckPending: number;
  /** True for a consumer that gets headers without bodies: it reads what it needs by sequence. */
  readonly headersOnly?: boolean;
  /**
   * Another consumer of the stream, behind whose acknowledged messages this one begins when it is made. A consumer that
   * takes over a part of another one's work repeats nothing that is done and misses nothing that is not.
   */
  readonly startBehind?: string;
}

/** A stream. `work` is deleted once acked and has limits that refuse; `log` keeps what it was told for a time. */
export interface StreamSpec<Name extends string = string> {
  readonly name: Name;
  readonly about: string;
  readonly kind: 'work' | 'log';
  readonly subjects: readonly string[];
  /** 0 keeps for ever. Work never expires: an age limit on a work queue drops unconsumed jobs silently. */
  readonly maxAgeMs: number;
  /** -1 for none. */
  readonly maxMessages: number;
  /**
   * Bytes the stream may hold, as a share of the broker's storage. A full stream refuses what is published and deletes
   * nothing (up to nats-server 2.10.4 it could delete accepted messages to make room, nats-server#4771).
   */
  readonly storeShare: number;
  /**
   * True for a stream whose share became smaller because another one takes a part of what is to come: its limit is
   * lowered while what it holds takes less than half of the lower one.
   */
  readonly givesUpRoom?: boolean;
  /** On one subject of a work queue; a publish beyond it is refused. Absent: as many as the stream holds. */
  readonly maxMessagesPerSubject?: number;
  /** How long a repeated `Nats-Msg-Id` is recognised; as long as a publisher may retry, and no longer. */
  readonly duplicateWindowMs: number;
  /** True for a stream that no user may delete from or purge. */
  readonly appendOnly?: boolean;
  /** True for a stream that takes batches which are stored whole or not at all; needs nats-server 2.12. */
  readonly atomicBatches?: boolean;
  /** True for a stream whose messages may carry a lifetime of their own; needs nats-server 2.11. */
  readonly messageTtl?: boolean;
  /** The work queue whose subjects these were in an older version: what waits there is moved here. It stands before this one. */
  readonly takesOverFrom?: Name;
  readonly consumers: readonly ConsumerSpec[];
}

/** A key-value bucket of one value per key. Its entries expire together. */
export interface BucketSpec {
  readonly name: string;
  readonly about: string;
  /** 0 keeps for ever. */
  readonly ttlMs: number;
  /** Bytes the bucket may hold, as a share of the broker's storage. A full bucket refuses and forgets no key. */
  readonly storeShare: number;
}

/** What a system keeps on its broker. */
export interface Topology<Name extends string = string> {
  readonly streams: readonly StreamSpec<Name>[];
  readonly buckets: readonly BucketSpec[];
}
