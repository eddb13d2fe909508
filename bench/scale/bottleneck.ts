/** What each kind of process used of the machine during a load. */
export interface Usage {
  /** Processors taken, by the name of what runs: 1 is one whole. */
  readonly taken: Readonly<Record<string, number>>;
  /** How many processes a name stands for. */
  readonly processes: Readonly<Record<string, number>>;
  /** Processors of the machine. */
  readonly cores: number;
}

export interface Bottleneck {
  /** Share of what is full, 1 when nothing is left of it. */
  readonly share: number;
  readonly what: string;
}

const FULL = 0.85;
/** Their work is done by one thread, so one processor is all that such a process can use. */
const ONE_THREAD = new Set(['gateway', 'load', 'no-op', 'sink']);

/**
 * Names what keeps a system from more: one thread that is full before all else, then the processors of the machine; when
 * neither is, what is left is waiting: for the disk of the broker, or for one step that has to follow another.
 */
export function bottleneckOf({ taken, processes, cores }: Usage): Bottleneck {
  const all = Object.values(taken).reduce((sum, each) => sum + each, 0);
  const perThread = Object.entries(taken)
    .filter(([name]) => ONE_THREAD.has(name))
    .map(([name, used]) => [name, used / (processes[name] ?? 1)] as const)
    .toSorted(([, a], [, b]) => b - a);
  const [thread] = perThread;
  if (thread !== undefined && thread[1] >= FULL) {
    return { share: thread[1], what: `one thread of ${thread[0]}, at ${thread[1].toFixed(2)} of a processor` };
  }
  const [most] = Object.entries(taken).toSorted(([, a], [, b]) => b - a);
  if (all >= FULL * cores) {
    return {
      share: all / cores,
      what: `the processors, ${all.toFixed(2)} of ${cores}, most of it ${most?.[0]} with ${most?.[1].toFixed(2)}`,
    };
  }
  return {
    share: all / cores,
    what: `waiting: ${all.toFixed(2)} of ${cores} processors are taken, so the disk of the broker or a round trip is`,
  };
}
