/** What is remembered of a message between its deliveries. */
export interface AttemptRecord {
  /** Handler runs that failed. */
  readonly failed: number;
  /** Handler runs that began and never ended: the process died. */
  readonly crashed: number;
  /** A run has begun. Still true at the next delivery: that run never ended. */
  readonly running: boolean;
}

/**
 * Remembers failed and crashed runs of messages that come again, shared by all replicas. It is asked only for messages
 * that failed or were delivered before; a message that succeeds at once costs nothing.
 */
export interface AttemptStore {
  /** Resolves with what is known of the message, or undefined. */
  read(key: string): Promise<AttemptRecord | undefined>;
  write(key: string, record: AttemptRecord): Promise<void>;
  /** The message is settled for good. */
  remove(key: string): Promise<void>;
}
