import { useEffect, useRef, useState } from 'preact/hooks';
import { Chart } from '../ui/chart.tsx';
import { Tile } from '../ui/tile.tsx';
import { countText, dateTimeText, durationText } from '../ui/format.ts';
import { percentile, startLoad, type LoadPlan, type LoadReport } from './load-run.ts';

const MOST_JOBS = 20_000;

/** Sends jobs at a rate from this page, and tells how the system takes it. */
export function LoadPage() {
  const [plan, setPlan] = useState<LoadPlan>({ jobs: 500, perSecond: 50, rampSeconds: 5, mailPercent: 50 });
  const [report, setReport] = useState<LoadReport>();
  const stop = useRef<() => void>(() => undefined);
  useEffect(() => () => stop.current(), []);
  const running = report !== undefined && (report.state === 'running' || report.state === 'waiting');
  const field = (name: keyof LoadPlan, label: string, least: number, most: number) => (
    <label class="field">
      {label}
      <input
        type="number"
        required
        min={least}
        max={most}
        value={plan[name]}
        disabled={running}
        onInput={(event) => setPlan({ ...plan, [name]: Number(event.currentTarget.value) })}
      />
    </label>
  );
  return (
    <>
      <h1>Load</h1>
      <form
        class="panel stack"
        onSubmit={(event) => {
          event.preventDefault();
          stop.current();
          stop.current = startLoad(plan, setReport);
        }}
      >
        <div class="fields">
          {field('jobs', 'Jobs', 1, MOST_JOBS)}
          {field('perSecond', 'A second, at full rate', 1, 500)}
          {field('rampSeconds', 'Seconds to full rate', 0, 600)}
          {field('mailPercent', 'Mails of a hundred', 0, 100)}
        </div>
        <div class="row">
          <button type="submit" class="first" disabled={running}>
            Start
          </button>
          {running && (
            <button type="button" onClick={() => stop.current()}>
              Stop
            </button>
          )}
          {report !== undefined && !running && (
            <a
              class="button"
              download={`sluice-load-${report.startedAt.slice(0, 19)}.json`}
              href={`data:application/json,${encodeURIComponent(JSON.stringify({ ...summary(report), seconds: report.seconds }, null, 2))}`}
            >
              Keep the report
            </a>
          )}
        </div>
        <p class="quiet">
          The page sends over six connections, as many as a browser opens. Mails go to addresses of example.com: run it
          where mail goes to the viewer, not out.
        </p>
      </form>
      {report !== undefined && <Report report={report} />}
    </>
  );
}

function summary({ plan, startedAt, state, sent, accepted, refused, ended, failed, acceptMs, endMs }: LoadReport) {
  const shares = (values: readonly number[]) => ({
    p50: percentile(values, 0.5),
    p95: percentile(values, 0.95),
    p99: percentile(values, 0.99),
  });
  return {
    plan,
    startedAt,
    state,
    sent,
    accepted,
    refused,
    ended,
    failed,
    acceptMs: shares(acceptMs),
    endMs: shares(endMs),
  };
}

function Report({ report }: { readonly report: LoadReport }) {
  const { plan, sent, accepted, ended, failed, refused, seconds, state, startedAt } = report;
  const { acceptMs, endMs } = summary(report);
  const ms = (value: number | undefined): string => (value === undefined ? '–' : durationText(value));
  const states = {
    running: 'sending',
    waiting: 'all sent, waiting for the last to end',
    done: 'done',
    stopped: 'stopped',
  };
  return (
    <section class="stack" aria-label="Report">
      <div class="row" role="status">
        <span class={`badge ${state === 'done' ? 'good' : ''}`}>{states[state]}</span>
        <span class="quiet">since {dateTimeText(startedAt)}</span>
      </div>
      <div class="tiles">
        <Tile name="Sent" value={`${countText(sent)} of ${countText(plan.jobs)}`} />
        <Tile name="Accepted" value={countText(accepted)} />
        <Tile name="Ended" value={countText(ended)} />
        <Tile name="Failed" value={countText(failed)} />
        <Tile
          name="429 and 503"
          value={countText(
            (refused['rate_limited'] ?? 0) + (refused['overloaded'] ?? 0) + (refused['unavailable'] ?? 0),
          )}
        />
      </div>
      <div class="panel">
        <Chart
          label="Each second"
          times={seconds.map(({ atS }) => atS)}
          lines={[
            { name: 'accepted', colour: '--work', values: seconds.map((second) => second.accepted) },
            { name: 'ended', colour: '--good', values: seconds.map((second) => second.ended) },
            { name: '429', colour: '--warn', values: seconds.map((second) => second.refused429) },
            { name: '503', colour: '--bad', values: seconds.map((second) => second.refused503) },
          ]}
        />
      </div>
      <div class="panel scroll" tabIndex={0} role="group" aria-label="Latency">
        <table>
          <thead>
            <tr>
              <th>Latency</th>
              <th class="number">Half within</th>
              <th class="number">95 % within</th>
              <th class="number">99 % within</th>
            </tr>
          </thead>
          <tbody>
            <tr>
              <td>until accepted</td>
              <td class="number">{ms(acceptMs.p50)}</td>
              <td class="number">{ms(acceptMs.p95)}</td>
              <td class="number">{ms(acceptMs.p99)}</td>
            </tr>
            <tr>
              <td>from accepted to ended</td>
              <td class="number">{ms(endMs.p50)}</td>
              <td class="number">{ms(endMs.p95)}</td>
              <td class="number">{ms(endMs.p99)}</td>
            </tr>
          </tbody>
        </table>
      </div>
      {Object.keys(refused).length > 0 && (
        <p class="note warn">
          Refused:{' '}
          {Object.entries(refused)
            .map(([code, count]) => `${countText(count)} × ${code}`)
            .join(', ')}
        </p>
      )}
    </section>
  );
}
