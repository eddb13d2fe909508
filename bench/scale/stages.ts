/** An event of a job, as `GET /v1/jobs/{id}/events` shows it. */
export interface TimelineEvent {
  readonly at: string;
  readonly event: string;
  readonly app: string;
  readonly pipeline?: string;
}

/** One step of a job and how long it took after the one before it. */
export interface Stage {
  readonly name: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Where the time of a job goes: between one event and the next, in the order in which they come, over the timelines of
 * several jobs. Steps that fewer than half of the jobs have are left out.
 */
export function stagesOf(timelines: readonly (readonly TimelineEvent[])[]): readonly Stage[] {
  const found = new Map<string, { order: number[]; ms: number[] }>();
  for (const timeline of timelines) {
    const sorted = timeline.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
    for (const [at, { app, event, pipeline, at: time }] of sorted.entries()) {
      const before = sorted[at - 1];
      if (before === undefined) continue;
      const name = [app, pipeline === app ? undefined : pipeline, event].filter(Boolean).join('.');
      const stage = found.get(name) ?? { order: [], ms: [] };
      found.set(name, stage);
      stage.order.push(at);
      stage.ms.push(Date.parse(time) - Date.parse(before.at));
    }
  }
  const at = (values: readonly number[], share: number): number =>
    values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN;
  return [...found]
    .filter(([, { ms }]) => ms.length >= timelines.length / 2)
    .map(([name, { order, ms }]) => ({ name, order: at(order, 0.5), p50Ms: at(ms, 0.5), p99Ms: at(ms, 0.99) }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ name, p50Ms, p99Ms }) => ({ name, p50Ms, p99Ms }));
}
