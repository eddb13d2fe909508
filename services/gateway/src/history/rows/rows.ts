import type { ProjectedStream } from '../read-model.ts';

/** Where in which incarnation of its stream a row was read: the later of two wins. */
export interface ReadAt {
  /** Counts how often the stream was made again. */
  readonly generation: number;
  readonly sequence: number;
}

/** A job as it is kept. */
export interface JobRow extends ReadAt {
  readonly id: string;
  readonly account: string;
  readonly kind: string;
  /** The state as lists show it, its worker's progress merged in. */
  readonly state: string;
  /** Whether it has not ended. */
  readonly open: boolean;
  readonly createdMs: number;
  /** When its last event was stored, by the broker's clock. */
  readonly updatedMs: number;
  /** `recipientDigest` of the address it is for; null for none. */
  readonly recipient: Uint8Array | null;
  /** What says something about a person was taken out, and stays out. */
  readonly erased: boolean;
  /** `joinTerms` of what it can be found by. */
  readonly terms: Uint8Array;
  /** `Job`, without its request. */
  readonly snapshot: Uint8Array;
}

/** What a worker last said of a job. */
export interface ProgressRow extends ReadAt {
  readonly jobId: string;
  readonly app: string;
  readonly state: 'queued' | 'running';
  readonly attempt: number;
  readonly atMs: number;
}

/** A message of a client's app. */
export interface MessageRow {
  readonly app: string;
  readonly id: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly events: readonly string[];
}

/** A term under which a job is found. */
export interface TermRow {
  readonly term: Uint8Array;
  readonly createdMs: number;
  readonly jobId: string;
}

/** How many jobs of an account and kind are in a state, more or fewer than before. */
export interface CountChange {
  readonly account: string;
  readonly kind: string;
  readonly state: string;
  readonly change: number;
}

/** What one transaction writes. */
export interface Changes {
  readonly jobs: readonly JobRow[];
  readonly progress: readonly ProgressRow[];
  readonly messages: readonly MessageRow[];
  readonly termsRemoved: readonly TermRow[];
  readonly termsAdded: readonly TermRow[];
  readonly counts: readonly CountChange[];
}

/** How far a stream was read. */
export interface PositionRow extends ReadAt {
  readonly stream: ProjectedStream;
  readonly created: string;
}
