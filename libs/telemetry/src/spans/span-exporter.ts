import { context, ROOT_CONTEXT, type Attributes } from '@opentelemetry/api';
import { followWallClock } from './clock.ts';
import type { OtlpSender } from './otlp-http.ts';
import { ScopeHead, writeSpan } from './otlp-spans.ts';
import { ProtoWriter } from './proto-writer.ts';
import type { RecordedSpan } from './span.ts';

/** Encoded spans that wait or are on their way, at most: about 16,000 spans. Further ones are dropped; work goes on. */
const MAX_WAITING_BYTES = 8 * 2 ** 20;
/** A batch is sent when it is this large, or when its oldest span has waited this long. */
const BATCH_BYTES = 256 * 1024;
const BATCH_MS = 1000;
/** A receiver that takes a while to answer holds up the next batch, not all of them. */
const MAX_SENDING = 2;
const FIRST_BUFFER_BYTES = 16 * 1024;

/** What became of spans, counted since the start. */
export interface SpanCounts {
  /** All that ended. */
  readonly offered: number;
  readonly exported: number;
  /** Could not be sent. */
  readonly failed: number;
  /** Found no room. */
  readonly dropped: number;
}

export interface SpanExporterOptions {
  readonly resource: Attributes;
  readonly sender: OtlpSender;
  readonly onFailure: (reason: string) => void;
}

/** A batch that is filled: the spans of one scope each, since OTLP groups by it. */
interface ScopeBatch {
  readonly head: ScopeHead;
  readonly writer: ProtoWriter;
}

interface Batch {
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  readonly spans: number;
}

/**
 * Encodes each span when it ends, and sends them in batches. Encoding at once spreads the work evenly, keeps nothing of a
 * span but its bytes, and lets the queue be bounded by what it really takes.
 */
export class SpanExporter {
  readonly #options: SpanExporterOptions;
  readonly #scopes = new Map<string, ScopeBatch>();
  readonly #queue: Batch[] = [];
  readonly #sending = new Set<Promise<void>>();
  /** Of the batch that is filled. */
  #spans = 0;
  #bytes = 0;
  /** Of those that wait or are on their way. */
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | undefined = undefined;
  #offered = 0;
  #exported = 0;
  #failed = 0;
  #dropped = 0;

  constructor(options: SpanExporterOptions) {
    this.#options = options;
  }

  get counts(): SpanCounts {
    return { offered: this.#offered, exported: this.#exported, failed: this.#failed, dropped: this.#dropped };
  }

  /** Takes a span that has ended. */
  add(span: RecordedSpan): void {
    this.#offered += 1;
    if (this.#waitingBytes + this.#bytes >= MAX_WAITING_BYTES) {
      this.#dropped += 1;
      return;
    }
    const { writer } = this.#scopeOf(span.scope);
    const before = writer.length;
    writeSpan(writer, span);
    this.#bytes += writer.length - before;
    this.#spans += 1;
    if (this.#bytes >= BATCH_BYTES) this.#close();
    else this.#timer ??= context.with(ROOT_CONTEXT, () => setTimeout(() => this.#close(), BATCH_MS).unref());
  }

  /** Sends what waits; resolves when it has arrived or was given up. */
  async flush(): Promise<void> {
    this.#close();
    while (this.#sending.size > 0) await Promise.all(this.#sending);
  }

  async shutdown(): Promise<void> {
    await this.flush();
    this.#options.sender.close();
  }

  #scopeOf(name: string): ScopeBatch {
    let scope = this.#scopes.get(name);
    if (scope === undefined) {
      scope = { head: new ScopeHead(this.#options.resource, name), writer: new ProtoWriter(FIRST_BUFFER_BYTES) };
      this.#scopes.set(name, scope);
    }
    return scope;
  }

  /** Ends the batch that is filled and has it sent. */
  #close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    followWallClock();
    if (this.#spans === 0) return;
    const parts: Uint8Array[] = [];
    for (const { head, writer } of this.#scopes.values()) {
      if (writer.length === 0) continue;
      // A copy of just its size: the buffer goes on to take the next batch.
      parts.push(head.before(writer.length), Buffer.from(writer.bytes));
      writer.clear();
    }
    this.#queue.push({ parts, bytes: this.#bytes, spans: this.#spans });
    this.#waitingBytes += this.#bytes;
    this.#bytes = 0;
    this.#spans = 0;
    // Connections and timers must not keep the context of the message whose span came last.
    context.with(ROOT_CONTEXT, () => this.#sendNext());
  }

  #sendNext(): void {
    while (this.#sending.size < MAX_SENDING) {
      const batch = this.#queue.shift();
      if (batch === undefined) return;
      const sending = this.#send(batch).finally(() => {
        this.#sending.delete(sending);
        this.#sendNext();
      });
      this.#sending.add(sending);
    }
  }

  async #send({ parts, bytes, spans }: Batch): Promise<void> {
    try {
      await this.#options.sender.send(parts);
      this.#exported += spans;
    } catch (error) {
      this.#failed += spans;
      this.#options.onFailure(error instanceof Error ? error.message : String(error));
    } finally {
      this.#waitingBytes -= bytes;
    }
  }
}
