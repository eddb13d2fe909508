import { isEnded, whyWaiting, type Job, type TimelineEntry } from '@sluice/client';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { bytesText, dateTimeText, durationText, timeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { StateBadge } from '../ui/state-badge.tsx';
import { VirtualList } from '../ui/virtual-list.tsx';
import { adviceFor } from './advice.ts';
import { JobRequestPanel } from './job-request-panel.tsx';
import { useTraceLinks } from '../links/links.tsx';
import { useTimeline } from './use-timeline.ts';
import { Waterfall } from './waterfall.tsx';

export function JobPage({ id }: { readonly id: string }) {
  const job = useLive(id, () => sluiceOnce.jobs.get(id), 2_000);
  const { entries, spans } = useTimeline(id, job.refresh);
  const action = useAction();
  const value = job.value;
  return (
    <>
      <div class="title">
        <h1 class="mono">{id}</h1>
        {value !== undefined && <StateBadge state={value.state} />}
        <span class="spring" />
        {value !== undefined && !isEnded(value) && (
          <button
            type="button"
            class="danger"
            disabled={action.busy || value.cancelRequested === true}
            onClick={() => void action.run(() => sluice.jobs.cancel(id)).then(job.refresh)}
          >
            {value.cancelRequested === true ? 'Cancelling…' : 'Cancel'}
          </button>
        )}
        {value?.links.pdf !== undefined && (
          <a class="button" href={value.links.pdf}>
            PDF
          </a>
        )}
      </div>
      <ProblemNote problem={job.problem ?? action.problem} />
      {value?.error !== undefined && <ErrorPanel error={value.error} />}
      {value?.waitingFor !== undefined && (
        <section class="note warn" aria-label="Why it is waiting">
          <strong>Why it is waiting:</strong> {whyWaiting(value.waitingFor)}.
        </section>
      )}
      {value !== undefined && <JobFacts job={value} />}
      <section class="panel" aria-labelledby="stages">
        <h2 id="stages">Stages</h2>
        <Waterfall spans={spans} />
      </section>
      {value !== undefined && <JobRequestPanel job={value} />}
      <Events entries={entries} />
    </>
  );
}

function ErrorPanel({ error }: { readonly error: NonNullable<Job['error']> }) {
  const advice = adviceFor(error.code);
  return (
    <section class="note bad" aria-label="Why it failed">
      <strong>{advice.means}</strong>
      <div>{advice.do}</div>
      <div class="mono">
        {error.code}: {error.detail}
      </div>
    </section>
  );
}

function JobFacts({ job }: { readonly job: Job }) {
  const links = useTraceLinks(job);
  const facts: [string, preact.ComponentChildren][] = [
    ['Kind', `${job.kind}${job.priority === 'express' ? ', express' : ''}`],
    ['Created', dateTimeText(job.createdAt)],
    [
      isEnded(job) ? 'Ended' : 'Last change',
      `${dateTimeText(job.updatedAt)} (after ${durationText(Date.parse(job.updatedAt) - Date.parse(job.createdAt))})`,
    ],
    ['Attempts', job.attempt],
    ...(job.fileNames === undefined || job.fileNames.length === 0
      ? []
      : [['Files', job.fileNames.join(', ')] as [string, string]]),
    ...(job.deferred === undefined
      ? []
      : [['Deferred', `${dateTimeText(job.deferred.at)}: ${job.deferred.detail}`] as [string, string]]),
    ...(job.webhook === undefined
      ? []
      : [['Webhook', <StateBadge state={job.webhook.state} />] as [string, preact.ComponentChildren]]),
    ...Object.entries(job.metadata ?? {}).map(([name, value]): [string, string] => [name, value]),
    ...Object.entries(job.result ?? {}).map(([name, value]): [string, string] => [
      resultNames[name] ?? name,
      resultText(name, value),
    ]),
    [
      'Trace',
      <span class="row">
        <code>{job.traceId}</code>
        {links.map(({ name, url }) => (
          <a key={name} href={url} target="_blank" rel="noreferrer">
            {name} ↗
          </a>
        ))}
      </span>,
    ],
  ];
  return (
    <section class="panel" aria-label="Facts">
      <dl class="facts">
        {facts.map(([name, value]) => (
          <>
            <dt key={name}>{name}</dt>
            <dd>{value}</dd>
          </>
        ))}
      </dl>
    </section>
  );
}

function resultText(name: string, value: NonNullable<Job['result']>[keyof NonNullable<Job['result']>]): string {
  if (Array.isArray(value)) {
    return value
      .map(({ recipient, sent, detail }) => `${recipient} ${sent ? 'sent' : `not sent: ${detail ?? 'it failed'}`}`)
      .join(', ');
  }
  return name.endsWith('Bytes') ? bytesText(Number(value)) : String(value);
}

/** What a result says, in words; what is not here is shown by the name that the API has for it. */
const resultNames: Readonly<Record<string, string>> = {
  pages: 'Pages',
  width: 'Width, pixels',
  height: 'Height, pixels',
  inputBytes: 'Pictures',
  outputBytes: 'PDF',
  sha256: 'SHA-256',
  path: 'Conversion',
  messageId: 'Message-ID',
  provider: 'Mail server',
  copies: 'Copies',
};

function Events({ entries }: { readonly entries: readonly TimelineEntry[] }) {
  return (
    <section class="panel" aria-labelledby="events">
      <h2 id="events">Events</h2>
      <VirtualList items={entries} rowHeight={48} height="28rem" label="Events">
        {(entry) => (
          <div class="job-row" style={{ gridTemplateColumns: '6rem minmax(0, 1fr)' }}>
            <time class="quiet mono" dateTime={entry.at}>
              {timeText(entry.at)}
            </time>
            <div>
              <div class="id">
                <strong>{entry.event}</strong>{' '}
                <span class="quiet">
                  {entry.app}
                  {entry.instance !== undefined && entry.instance !== entry.app ? ` · ${entry.instance}` : ''}
                </span>
              </div>
              <div class="about">
                {[
                  entry.attempt === undefined ? '' : `attempt ${entry.attempt}`,
                  entry.pipeline ?? '',
                  entry.durationMs === undefined ? '' : durationText(entry.durationMs),
                  entry.detail ?? '',
                ]
                  .filter(Boolean)
                  .join(' · ')}
              </div>
            </div>
          </div>
        )}
      </VirtualList>
    </section>
  );
}
