import { progressIn, withoutPerson, withProgress, type Decoded } from './decode.ts';
import type { Changes, CountChange, JobRow, ProgressRow, ReadAt, TermRow } from './rows.ts';
import { splitTerms } from './terms.ts';

/** What is kept about a job before a transaction. */
export interface Known {
  readonly job: JobRow | undefined;
  readonly progress: readonly ProgressRow[];
}

/** Jobs that a batch says something about. */
export const jobsIn = ({ jobs, progress }: Decoded): string[] => [...new Set([...jobs.keys(), ...progress.keys()])];

/** What a batch changes. The same for any order of batches of two streams, and nothing for one that was taken in before. */
export function changesOf(decoded: Decoded, known: ReadonlyMap<string, Known>): Changes {
  const jobs: (readonly [JobRow | undefined, JobRow])[] = [];
  const progress: ProgressRow[] = [];
  for (const id of jobsIn(decoded)) {
    const { job: before, progress: said } = known.get(id) ?? { job: undefined, progress: [] };
    const newer = (decoded.progress.get(id) ?? []).filter((row) =>
      isLater(
        row,
        said.find(({ app }) => app === row.app),
      ),
    );
    progress.push(...newer);
    const told = decoded.jobs.get(id);
    const isNews = told !== undefined && isLater(told, before);
    const job = isNews ? keepErased(told, before) : before;
    if (job === undefined || (!isNews && newer.length === 0)) continue;
    const all = [...newer, ...said.filter(({ app }) => !newer.some((row) => row.app === app))];
    const after = progressIn(job.kind, all) === undefined ? job : withProgress(job, all);
    if (after !== before) jobs.push([before, after]);
  }
  return { ...rowChanges(jobs), progress, messages: decoded.messages };
}

/** What replacing rows changes; an absent row is one that is new, or deleted. */
export function rowChanges(
  pairs: readonly (readonly [before: JobRow | undefined, after: JobRow | undefined])[],
): Omit<Changes, 'progress' | 'messages'> {
  const termsRemoved: TermRow[] = [];
  const termsAdded: TermRow[] = [];
  const counts = new Map<string, CountChange>();
  const count = ({ account, kind, state }: JobRow, by: number): void => {
    const key = `${account}\0${kind}\0${state}`;
    counts.set(key, { account, kind, state, change: (counts.get(key)?.change ?? 0) + by });
  };
  for (const [before, after] of pairs) {
    const [old, now] = [termRows(before), termRows(after)];
    termsRemoved.push(...old.filter((row) => !now.some((each) => isSame(row, each))));
    termsAdded.push(...now.filter((row) => !old.some((each) => isSame(row, each))));
    if (before !== undefined) count(before, -1);
    if (after !== undefined) count(after, 1);
  }
  const jobs = pairs.flatMap(([, after]) => (after === undefined ? [] : [after]));
  return { jobs, termsRemoved, termsAdded, counts: [...counts.values()].filter(({ change }) => change !== 0) };
}

const termRows = (job: JobRow | undefined): TermRow[] =>
  job === undefined ? [] : splitTerms(job.terms).map((term) => ({ term, createdMs: job.createdMs, jobId: job.id }));

const isSame = (a: TermRow, b: TermRow): boolean => a.createdMs === b.createdMs && Buffer.compare(a.term, b.term) === 0;

const isLater = (row: ReadAt, than: ReadAt | undefined): boolean =>
  than === undefined ||
  row.generation > than.generation ||
  (row.generation === than.generation && row.sequence > than.sequence);

/** A person stays erased, also where a later event names one. When a job was accepted does not change either: it is found by it. */
const keepErased = (told: JobRow, before: JobRow | undefined): JobRow => {
  const row = before === undefined ? told : { ...told, createdMs: before.createdMs };
  return before?.erased === true ? withoutPerson(row) : row;
};
