import { Counter, Histogram, type CounterConfiguration, type HistogramConfiguration } from 'prom-client';

/**
 * Series of `prom-client` metrics that are found once and then counted into. `prom-client` itself finds a series at each
 * call, by a text that it makes of all labels: several times what counting costs.
 */

type Labels = Readonly<Record<string, string>>;
type Exemplar = Readonly<Record<string, string>>;

/** One series of a {@link SeriesCounter}. */
export interface CounterSeries {
  add(count: number): void;
}

class PendingCount implements CounterSeries {
  readonly labels: Labels;
  /** Added since the last scrape; undefined before the first time, so that a series is not shown before that. */
  pending: number | undefined = undefined;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  add(count: number): void {
    this.pending = (this.pending ?? 0) + count;
  }
}

/** A counter whose series take what is added without a look-up, and hand it on when the counter is read. */
export class SeriesCounter<L extends string> {
  readonly #series = new Map<string, PendingCount>();

  constructor(config: Omit<CounterConfiguration<L>, 'collect'>) {
    const series = this.#series;
    void new Counter<L>({
      ...config,
      collect() {
        for (const each of series.values()) {
          if (each.pending === undefined) continue;
          this.inc(each.labels as Record<L, string>, each.pending);
          each.pending = 0;
        }
      },
    });
  }

  /** The series with these labels: always the same object. */
  of(labels: Readonly<Record<L, string>>): CounterSeries {
    return found(this.#series, labels, () => new PendingCount(labels));
  }
}

/** A line of a scrape, as `prom-client` takes it: labels of its own, and those that all lines of a series share. */
interface Line {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly sharedLabels: Labels;
  readonly value: number;
  readonly exemplar?: ShownExemplar | null;
}

interface ShownExemplar {
  readonly labelSet: Exemplar;
  readonly value: number;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

/** One series of a {@link SeriesHistogram}. */
export class HistogramSeries {
  readonly labels: Labels;
  readonly #bounds: readonly number[];
  /** Observations in each bucket and not in the one before; the last is the one without a bound. */
  readonly #counts: number[];
  #exemplars: (ShownExemplar | undefined)[] = [];
  #sum = 0;
  #count = 0;

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  /** Counts a value; `exemplar` names what is behind it, as a trace. */
  observe(value: number, exemplar?: Exemplar): void {
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at += 1;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sum += value;
    this.#count += 1;
    if (exemplar !== undefined) this.#exemplars[at] = { labelSet: exemplar, value, timestamp: Date.now() / 1000 };
  }

  reset(): void {
    this.#counts.fill(0);
    this.#exemplars = [];
    this.#sum = 0;
    this.#count = 0;
  }

  /** Nothing before the first value. */
  lines(name: string): Line[] {
    if (this.#count === 0) return [];
    const sharedLabels = this.labels;
    let upTo = 0;
    return [
      ...this.#counts.map((count, at) => ({
        metricName: `${name}_bucket`,
        labels: { le: this.#bounds[at] ?? '+Inf' },
        sharedLabels,
        value: (upTo += count),
        exemplar: this.#exemplars[at] ?? null,
      })),
      { metricName: `${name}_sum`, labels: {}, sharedLabels, value: this.#sum },
      { metricName: `${name}_count`, labels: {}, sharedLabels, value: this.#count },
    ];
  }
}

/**
 * A histogram of series that are found once. Its registry reads it as any other, through `get` and what `prom-client`
 * asks in its place for text. What it has of its own, `observe` above all, is not used.
 */
export class SeriesHistogram<L extends string> extends Histogram<L> {
  readonly #config: HistogramConfiguration<L> & { readonly buckets: number[] };
  readonly #series = new Map<string, HistogramSeries>();

  constructor(config: HistogramConfiguration<L> & { readonly buckets: number[] }) {
    super(config);
    this.#config = config;
  }

  /** The series with these labels: always the same object. */
  of(labels: Readonly<Record<L, string>>): HistogramSeries {
    return found(this.#series, labels, () => new HistogramSeries(labels, this.#config.buckets));
  }

  override get(): ReturnType<Histogram<L>['get']> {
    const values = this.#lines().map(({ sharedLabels, labels, ...line }) => ({
      ...line,
      labels: { ...labels, ...sharedLabels },
    }));
    return Promise.resolve(this.#described(values)) as unknown as ReturnType<Histogram<L>['get']>;
  }

  getForPromString(): Promise<object> {
    return Promise.resolve(this.#described(this.#lines()));
  }

  override reset(): void {
    super.reset();
    // `prom-client` calls it where it makes the metric, before there is any series.
    if (#series in this) for (const each of this.#series.values()) each.reset();
  }

  #lines(): Line[] {
    return [...this.#series.values()].flatMap((each) => each.lines(this.#config.name));
  }

  #described(values: readonly object[]): object {
    const { name, help } = this.#config;
    return { name, help, type: 'histogram', aggregator: 'sum', values };
  }
}

function found<S>(series: Map<string, S>, labels: Labels, make: () => S): S {
  const key = Object.keys(labels)
    .toSorted()
    .map((name) => `${name}=${labels[name]}`)
    .join('\n');
  let one = series.get(key);
  if (one === undefined) series.set(key, (one = make()));
  return one;
}
