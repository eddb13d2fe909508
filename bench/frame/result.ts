// What a bench returns and what its JSON file holds.

/** One figure. `pass` compares it (or its ratio) with the floor the bench sets for it. */
export interface Row {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly ratio?: number;
  readonly floor?: number;
  readonly pass: boolean;
}

/** One figure over another, drawn by `pnpm gen:benchmarks-docs` as a line: a rate and its latency, say. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Curves that belong into one picture. */
export interface Chart {
  /** Names the picture's file: lower-case letters, digits and dashes. */
  readonly id: string;
  readonly title: string;
  /** What the horizontal axis counts. */
  readonly xUnit: string;
  readonly curves: readonly Curve[];
}

/** What a bench returns: its rows, and remarks to print under them (what was skipped and why, versions of peers). */
export interface BenchResult {
  readonly rows: readonly Row[];
  readonly notes?: readonly string[];
  readonly charts?: readonly Chart[];
}

/** How a bench is to run. */
export interface BenchOptions {
  readonly quick: boolean;
  /** One part of the bench; a bench without parts ignores it. */
  readonly only?: string;
  /** Aborted by Ctrl-C, SIGTERM and the end of the process that started this one. */
  readonly signal: AbortSignal;
}

/** What `--json` writes. */
export interface BenchReport extends BenchResult {
  readonly bench: string;
  readonly quick: boolean;
  readonly date: string;
  readonly machine: string;
  /** By the clock, starts and ends included. */
  readonly seconds: number;
  /** Processors that other work has taken meanwhile; absent where that is not known. */
  readonly otherWork?: number;
}
