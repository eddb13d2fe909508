import { isEnded, isProblem, type Job, type JobFilter, type JobPage, type JobState } from '@sluice/client';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { errorOf, useAction, useLive } from '../api/live.ts';
import { placeUrl, replaceQuery, type Place } from '../router.ts';
import { Confirm } from '../ui/confirm.tsx';
import { agoText, countText, dateTimeText, durationText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { StateBadge } from '../ui/state-badge.tsx';
import { VirtualList } from '../ui/virtual-list.tsx';
import { ErrorCounts } from './error-counts.tsx';
import { fieldNames, searchFields, searchOf } from './search.ts';

const PAGE = 100;
/** Rows in the page at most: a search narrows a longer list down. */
const MOST_ROWS = 20_000;
const EVERY_MS = 2_000;
const ROW_PX = 58;

/** In their order. The type finds one that is missing here. */
const jobStates = Object.keys({
  accepted: 0,
  queued: 0,
  running: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
} satisfies Record<JobState, 0>);

const filters = ['state', 'kind', ...searchFields, 'since', 'until'] as const;
type Filter = Readonly<Partial<Record<(typeof filters)[number], string>>>;
/** As the API takes it; what is not of its form is refused there, and told. */
const filterOf = ({ metadata, ...query }: Filter): JobFilter => ({
  ...(query as JobFilter),
  ...(metadata === undefined ? {} : { metadata: [metadata] }),
});

export function JobsPage({ place }: { readonly place: Place }) {
  const query = Object.fromEntries(
    filters
      .map((name) => [name, place.query.get(name) ?? undefined] as const)
      .filter(([, value]) => value !== undefined),
  ) as Filter;
  const key = JSON.stringify(query);
  const first = useLive(key, () => sluiceOnce.jobs.list({ ...filterOf(query), limit: PAGE }), EVERY_MS);
  const { rows, more, loading, problem: moreProblem } = useOlder(key, query, first.value);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [asking, setAsking] = useState<'cancel' | 'rerun'>();
  const action = useAction();
  const [said, setSaid] = useState('');
  useEffect(() => setChosen(new Set()), [key]);

  const cancellable = rows.filter((job) => chosen.has(job.id) && !isEnded(job));
  const rerunnable = rows.filter((job) => chosen.has(job.id) && isEnded(job));
  const toggle = (id: string): void => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  /** One after another, each although one before it failed; the first failure is shown. */
  const doAll = async (jobs: readonly Job[], work: (job: Job) => Promise<unknown>, words: string): Promise<void> => {
    let done = 0;
    const failures: unknown[] = [];
    await action.run(async () => {
      for (const job of jobs) {
        await work(job).then(
          () => (done += 1),
          (error: unknown) => failures.push(error),
        );
      }
      if (failures.length > 0) throw failures[0];
    });
    setSaid(`${done} of ${jobs.length} ${words}`);
    setAsking(undefined);
    setChosen(new Set());
    first.refresh();
  };

  const cancelAll = (): Promise<void> =>
    doAll(
      cancellable,
      (job) =>
        sluice.jobs.cancel(job).catch((error: unknown) => {
          // It ended while the question was on the screen: there is nothing left to cancel.
          if (!isProblem(error, 'job_finished')) throw error;
        }),
      'asked to cancel',
    );
  const rerunAll = (): Promise<void> => doAll(rerunnable, (job) => sluice.jobs.rerun(job), 'sent again');

  return (
    <>
      <div class="title">
        <h1>Jobs</h1>
        <span class="spring" />
        <a class="button" href={placeUrl(['try'])}>
          New job
        </a>
      </div>
      <JobFilters place={place} />
      <ErrorCounts place={place} />
      <ProblemNote problem={first.problem ?? moreProblem ?? action.problem} />
      <div class="row" role="status">
        <span class="quiet">
          {first.value === undefined
            ? 'Loading…'
            : `${countText(rows.length)}${more === undefined ? '' : '+'} jobs, newest first`}
        </span>
        {chosen.size > 0 && (
          <>
            <span>{chosen.size} chosen</span>
            <button
              type="button"
              disabled={cancellable.length === 0 || action.busy}
              onClick={() => setAsking('cancel')}
            >
              Cancel {cancellable.length}
            </button>
            <button type="button" disabled={rerunnable.length === 0 || action.busy} onClick={() => setAsking('rerun')}>
              Rerun {rerunnable.length}
            </button>
            <button type="button" class="plain" onClick={() => setChosen(new Set())}>
              Choose none
            </button>
          </>
        )}
        {said !== '' && <span>{said}</span>}
      </div>
      {first.value !== undefined && rows.length === 0 && (
        <div class="panel">
          <h2>No jobs here</h2>
          <p>
            {Object.keys(query).length > 0 ? (
              <>
                Nothing matches. <a href={placeUrl(['jobs'])}>Show all jobs</a>
              </>
            ) : (
              <>
                Nothing was sent yet. <a href={placeUrl(['try'])}>Convert a picture or send a mail</a>
              </>
            )}
          </p>
        </div>
      )}
      {rows.length > 0 && (
        <div class="panel flush">
          <VirtualList
            items={rows}
            rowHeight={ROW_PX}
            height="70vh"
            label="Jobs"
            keyOf={({ id }) => id}
            onNearEnd={loading ? undefined : more}
          >
            {(job) => <JobRow job={job} chosen={chosen.has(job.id)} onToggle={toggle} />}
          </VirtualList>
        </div>
      )}
      {rows.length >= MOST_ROWS && (
        <p class="note">The list ends at {countText(MOST_ROWS)} rows. Narrow the search to see older ones.</p>
      )}
      {asking === 'rerun' && (
        <Confirm
          title={`Rerun ${rerunnable.length} jobs?`}
          action="Rerun them"
          busy={action.busy}
          onConfirm={() => void rerunAll()}
          onCancel={() => setAsking(undefined)}
        >
          <p>Each is sent again as a new job, with the same options. A mail goes out once more.</p>
        </Confirm>
      )}
      {asking === 'cancel' && (
        <Confirm
          title={`Cancel ${cancellable.length} jobs?`}
          action="Cancel them"
          danger
          busy={action.busy}
          onConfirm={() => void cancelAll()}
          onCancel={() => setAsking(undefined)}
        >
          <p>A job whose work has begun may still succeed. A cancelled job is not charged.</p>
        </Confirm>
      )}
    </>
  );
}

function JobRow({
  job,
  chosen,
  onToggle,
}: {
  readonly job: Job;
  readonly chosen: boolean;
  readonly onToggle: (id: string) => void;
}) {
  const { id, kind, state, createdAt, updatedAt, error, attempt, priority } = job;
  const took = Date.parse(updatedAt) - Date.parse(createdAt);
  const about = [
    kind,
    priority === 'express' ? 'express' : '',
    ...(job.fileNames ?? []),
    attempt > 1 ? `attempt ${attempt}` : '',
    ...Object.entries(job.metadata ?? {}).map(([name, value]) => `${name}=${value}`),
    error === undefined ? '' : `${error.code}: ${error.detail}`,
  ];
  return (
    <div class="job-row">
      <input type="checkbox" checked={chosen} aria-label={`Choose ${id}`} onChange={() => onToggle(id)} />
      <div>
        <div class="id">
          <a class="mono" href={placeUrl(['jobs', id])}>
            {id}
          </a>
        </div>
        <div class="about">{about.filter(Boolean).join(' · ')}</div>
      </div>
      <div class="right">
        <StateBadge state={state} />
        <span class="quiet" title={dateTimeText(createdAt)}>
          {isEnded(job) ? `${durationText(took)} · ` : ''}
          {agoText(createdAt)}
        </span>
      </div>
    </div>
  );
}

/** How far back the list may look, by what the reader chooses. */
const spans: Readonly<Record<string, number>> = {
  'in the last hour': 3_600_000,
  'in the last day': 24 * 3_600_000,
  'in the last week': 7 * 24 * 3_600_000,
};

/** The filters, which are the query of the address: a search can be sent to a colleague. */
function JobFilters({ place }: { readonly place: Place }) {
  const [typed, setTyped] = useState('');
  const value = (name: (typeof filters)[number]): string => place.query.get(name) ?? '';
  const set = (name: (typeof filters)[number]) => (event: Event) =>
    replaceQuery(place, { [name]: (event.currentTarget as HTMLInputElement).value.trim() });
  const find = (): void => {
    const search = searchOf(typed);
    if (search === undefined) return;
    if ('job' in search) location.hash = placeUrl(['jobs', search.job]);
    else replaceQuery(place, { [search.field]: search.value });
    setTyped('');
  };
  const given = [...searchFields, 'since' as const, 'until' as const].filter((name) => value(name) !== '');
  return (
    <form
      class="panel stack"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        find();
      }}
    >
      <div class="fields">
        <label class="field wide">
          Find
          <input
            type="search"
            value={typed}
            placeholder="address, file name, error code, name=value or job id"
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          State
          <select value={value('state')} onChange={set('state')}>
            <option value="">any</option>
            {jobStates.map((state) => (
              <option key={state}>{state}</option>
            ))}
          </select>
        </label>
        <label class="field">
          Kind
          <select value={value('kind')} onChange={set('kind')}>
            <option value="">any</option>
            <option>image</option>
            <option>email</option>
          </select>
        </label>
        <label class="field">
          Made
          <select
            value={value('since') === '' ? '' : 'since'}
            onChange={(event) => {
              const ms = spans[event.currentTarget.value];
              if (ms !== undefined) replaceQuery(place, { since: new Date(Date.now() - ms).toISOString() });
              else if (event.currentTarget.value === '') replaceQuery(place, { since: undefined });
            }}
          >
            <option value="">at any time</option>
            {Object.keys(spans).map((name) => (
              <option key={name}>{name}</option>
            ))}
            {value('since') !== '' && <option value="since">since {dateTimeText(value('since'))}</option>}
          </select>
        </label>
        <button type="submit">Find</button>
      </div>
      {given.length > 0 && (
        <div class="row">
          {given.map((name) => (
            <button key={name} type="button" onClick={() => replaceQuery(place, { [name]: undefined })}>
              <span class="visually-hidden">No longer only </span>
              {name === 'since' || name === 'until'
                ? `${name} ${dateTimeText(value(name))}`
                : `${fieldNames[name]} ${value(name)}`}{' '}
              <span aria-hidden="true">✕</span>
            </button>
          ))}
        </div>
      )}
    </form>
  );
}

/** The first page, which is current, with the older pages behind it, which are asked for as the reader scrolls. */
function useOlder(
  key: string,
  query: Filter,
  first: JobPage | undefined,
): { rows: readonly Job[]; more: (() => void) | undefined; loading: boolean; problem: Error | undefined } {
  const [older, setOlder] = useState<{ key: string; jobs: readonly Job[]; next: string | undefined } | undefined>();
  const [loading, setLoading] = useState(false);
  const [problem, setProblem] = useState<Error>();
  const current = older?.key === key ? older : undefined;

  // What falls off the first page, because newer jobs came, goes on being shown.
  const seen = useRef<{ key: string; jobs: readonly Job[] }>({ key, jobs: [] });
  const inFirst = new Set(first?.jobs.map(({ id }) => id));
  const before = seen.current.key === key ? seen.current.jobs : [];
  const overlaps = before.length === 0 || before.some(({ id }) => inFirst.has(id));
  // More new jobs than a page holds: between the pages something is missing, so the older ones are asked for anew.
  const kept = overlaps ? before.filter(({ id }) => !inFirst.has(id)) : [];
  const known = new Set([...inFirst, ...kept.map(({ id }) => id)]);
  const rest = overlaps ? (current?.jobs.filter(({ id }) => !known.has(id)) ?? []) : [];
  const rows = first === undefined ? [] : [...first.jobs, ...kept, ...rest].slice(0, MOST_ROWS);
  const next = overlaps && current !== undefined ? current.next : first?.next;
  useEffect(() => {
    if (first === undefined) return;
    seen.current = { key, jobs: [...first.jobs, ...kept].slice(0, PAGE * 10) };
    if (!overlaps) setOlder(undefined);
  }, [first]);

  const load = useCallback(() => {
    if (next === undefined || loading) return;
    setLoading(true);
    sluice.jobs.list({ ...filterOf(query), limit: 200, cursor: next }).then(
      (page) => {
        setOlder((known) => ({
          key,
          jobs: [...(known?.key === key ? known.jobs : []), ...page.jobs],
          next: page.next,
        }));
        setProblem(undefined);
        setLoading(false);
      },
      (error: unknown) => {
        setProblem(errorOf(error));
        setLoading(false);
      },
    );
  }, [key, next, loading]);
  return {
    rows,
    more: next === undefined || rows.length >= MOST_ROWS || problem !== undefined ? undefined : load,
    loading,
    problem,
  };
}
