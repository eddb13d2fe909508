import type { Clock } from '../clock.ts';
import type { HeaderInput } from '../nats/port.ts';
import { matches } from '../nats/subject.ts';
import type { SubjectTransform } from '../partitions/subject-transform.ts';

/** A stream to keep in memory. */
export interface MemoryStreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  /** `workqueue` deletes a message when it is acknowledged. */
  readonly retention?: 'limits' | 'workqueue';
  readonly maxMessages?: number;
  readonly duplicateWindowMs?: number;
  /** The lifetime that is told of it; nothing is removed. */
  readonly maxAgeMs?: number;
  /** Takes message schedules (`@at`), as a stream of nats-server 2.12 with `allow_msg_schedules` does. */
  readonly schedules?: boolean;
  /** What is published under `src` is stored under `dest`, which may use `{{partition(count,...)}}` and `{{wildcard(n)}}`. */
  readonly transform?: SubjectTransform;
}

export interface MemoryMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly data: Uint8Array;
  readonly headers: HeaderInput;
  readonly storedAtMs: number;
}

/** What a store of a message led to. */
export type Stored =
  | { readonly sequence: number; readonly duplicate: boolean }
  | { readonly code: number; readonly errCode: number; readonly description: string };

const DEFAULT_DUPLICATE_WINDOW_MS = 120_000;
/** JetStream's number for a schedule in a stream that takes none. */
const SCHEDULES_DISABLED = 10_188;

/** The messages of one stream. */
export class MemoryStream {
  readonly config: MemoryStreamConfig;
  readonly messages = new Map<number, MemoryMessage>();
  lastSequence = 0;
  readonly #clock: Clock;
  readonly #onFired: () => void;
  readonly #patterns: readonly (readonly string[])[];
  readonly #ids = new Map<string, { readonly sequence: number; readonly atMs: number }>();

  constructor(config: MemoryStreamConfig, clock: Clock, onFired: () => void) {
    this.config = config;
    this.#onFired = onFired;
    this.#clock = clock;
    this.#patterns = config.subjects.map((subject) => subject.split('.'));
  }

  takes(subject: string): boolean {
    const tokens = subject.split('.');
    return this.#patterns.some((pattern) => matches(pattern, tokens));
  }

  store(published: string, data: Uint8Array, headers: HeaderInput): Stored {
    const { transform } = this.config;
    const subject = transform === undefined ? published : transformed(published, transform);
    const now = this.#clock.now();
    const id = headers['Nats-Msg-Id'];
    if (typeof id === 'string') {
      const known = this.#ids.get(id);
      if (known !== undefined && now - known.atMs < (this.config.duplicateWindowMs ?? DEFAULT_DUPLICATE_WINDOW_MS)) {
        return { sequence: known.sequence, duplicate: true };
      }
    }
    const expected = headers['Nats-Expected-Last-Subject-Sequence'];
    if (typeof expected === 'string' && Number(expected) !== this.#lastOn(subject)) {
      return { code: 400, errCode: 10_071, description: `wrong last sequence: ${this.#lastOn(subject)}` };
    }
    if (this.messages.size >= (this.config.maxMessages ?? Number.POSITIVE_INFINITY)) {
      return { code: 503, errCode: 10_077, description: 'maximum messages exceeded' };
    }
    const schedule = headers['Nats-Schedule'];
    if (typeof schedule === 'string') {
      if (this.config.schedules !== true) {
        return { code: 400, errCode: SCHEDULES_DISABLED, description: 'message schedules is disabled' };
      }
      // One schedule for each subject: a repeat replaces it.
      for (const [sequence, message] of this.messages) if (message.subject === subject) this.messages.delete(sequence);
    }
    const sequence = ++this.lastSequence;
    if (typeof id === 'string') this.#ids.set(id, { sequence, atMs: now });
    this.messages.set(sequence, { subject, sequence, data, headers, storedAtMs: this.#clock.wall() });
    if (typeof schedule === 'string') this.#fireAt(schedule, sequence);
    return { sequence, duplicate: false };
  }

  /** When it is due, a schedule leaves and its message is stored under the target, without the headers of schedules. */
  #fireAt(schedule: string, sequence: number): void {
    const dueMs = Date.parse(schedule.replace(/^@at /, '')) - this.#clock.wall();
    this.#clock.after(Math.max(0, dueMs), () => {
      const message = this.messages.get(sequence);
      if (message === undefined) return;
      this.messages.delete(sequence);
      const kept = Object.entries(message.headers).filter(([name]) => !/^Nats-(Schedule|Msg-Id|Expected-)/.test(name));
      const target = String(message.headers['Nats-Schedule-Target']);
      this.store(target, message.data, { ...Object.fromEntries(kept), 'Nats-Scheduler': message.subject });
      this.#onFired();
    });
  }

  #lastOn(subject: string): number {
    let last = 0;
    for (const message of this.messages.values()) if (message.subject === subject) last = message.sequence;
    return last;
  }
}

/** The subject that a message is stored under; a subject that `src` does not cover stays as it is. */
function transformed(subject: string, { src, dest }: SubjectTransform): string {
  const tokens = subject.split('.');
  const pattern = src.split('.');
  if (!matches(pattern, tokens)) return subject;
  const wildcards = tokens.filter((_, index) => pattern[index] === '*');
  const rest = pattern.at(-1) === '>' ? tokens.slice(pattern.length - 1) : [];
  return dest
    .replaceAll(/\{\{wildcard\((\d+)\)\}\}/g, (_, place: string) => wildcards[Number(place) - 1] ?? '')
    .replaceAll(/\{\{partition\((\d+)([^)]*)\)\}\}/g, (_, count: string, places: string) => {
      const hashed = places
        .split(',')
        .filter((place) => place !== '')
        .map((place) => wildcards[Number(place) - 1] ?? '');
      return String(hash(hashed.length === 0 ? subject : hashed.join('')) % Number(count));
    })
    .replace(/(^|\.)>$/, (_, dot: string) => `${dot}${rest.join('.')}`);
}

/** FNV-1a, which is what the server hashes with. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}
