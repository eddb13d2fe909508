import type { Chart } from './charts.ts';
import { colourOf } from './colours.ts';
import { durationField, filterFields, levelField, passesLog, passesTrace, type Filter } from './filter.ts';
import { html, page, type Html } from './html.ts';
import type { LogRecord } from './otlp-json.ts';
import { logTable } from './trace-page.ts';
import type { TraceSummary } from './trace-store.ts';
import { formatMs } from './trace-tree.ts';

/** The newest traces. `query` matches names, services, jobs and trace ids. */
export function listPage(traces: readonly TraceSummary[], query: string, filter: Filter, nowMs: number): string {
  const wanted = traces
    .filter((trace) => passesTrace(trace, filter, nowMs) && matches(trace, query.trim().toLowerCase()))
    .slice(0, 200);
  const services = [...new Set(traces.flatMap((trace) => trace.services))].toSorted((a, b) => a.localeCompare(b, 'en'));
  return page(
    'Traces',
    html` <form>
        <input name="q" value="${query}" placeholder="a job, a service, a name, a trace id; or: failed" />
        ${filterFields(filter, services)} ${durationField(filter)}
        <button>Search</button>
      </form>
      <div id="live">
        <table>
          <tr>
            <th>began</th>
            <th>trace</th>
            <th>services</th>
            <th class="n">spans</th>
            <th class="n">took</th>
            <th>job</th>
          </tr>
          ${wanted.map(
            (trace) =>
              html`<tr>
                <td class="mono">${new Date(trace.startMs).toISOString().slice(11, 23)}</td>
                <td>
                  <a href="/trace/${trace.traceId}">${trace.name}</a>
                  ${trace.failed ? html`<b class="bad">failed</b>` : undefined}
                </td>
                <td class="soft">${trace.services.join(', ')}</td>
                <td class="n" data-name="spans">${trace.spans}</td>
                <td class="n" data-name="took">${formatMs(trace.durationMs)}</td>
                <td class="mono">${trace.jobIds.map((job) => html`<a href="/logs?jobId=${job}">${job}</a> `)}</td>
              </tr>`,
          )}
        </table>
        <p class="soft">${wanted.length} of ${traces.length} traces kept</p>
      </div>`,
    true,
  );
}

function matches(trace: TraceSummary, query: string): boolean {
  if (query === '') return true;
  if (query === 'failed') return trace.failed;
  return [trace.name, trace.traceId, ...trace.services, ...trace.jobIds].some((text) =>
    text.toLowerCase().includes(query),
  );
}

/** Log lines of everything, or of one job with the traces that moved it. */
export function logsPage(
  logs: readonly LogRecord[],
  jobId: string,
  traceIds: readonly string[],
  filter: Filter,
  nowMs: number,
): string {
  const services = [...new Set(logs.map((log) => log.service))].toSorted((a, b) => a.localeCompare(b, 'en'));
  return page(
    jobId === '' ? 'Logs' : `Logs of ${jobId}`,
    html` <form>
        <input name="jobId" value="${jobId}" placeholder="the id of a job" /> ${filterFields(filter, services)}
        ${levelField(filter)} <button>Show</button>
      </form>
      <div id="live">
        ${traceIds.map(
          (id) =>
            html`<p>
              trace <a href="/trace/${id}"><code>${id}</code></a>
            </p>`,
        )}
        ${logTable(logs.filter((log) => passesLog(log, filter, nowMs)).slice(-500))}
      </div>`,
    true,
  );
}

/** The engine's numbers over the last minutes. */
export function chartsPage(charts: readonly Chart[]): string {
  return page('Charts', html`<div class="charts" id="live">${charts.map(drawChart)}</div>`, true);
}

const WIDTH = 600;
const HEIGHT = 150;
const LEFT = 56;
const BOTTOM = 18;

function drawChart(chart: Chart): Html {
  const names = chart.lines.map((line) => line.label);
  const values = chart.lines.flatMap((line) => line.points.filter((point) => point !== undefined));
  const top = niceCeiling(Math.max(chart.unit === 'ratio' ? 1 : 0, ...values));
  const from = chart.atMs[0] ?? 0;
  const span = Math.max(1, (chart.atMs.at(-1) ?? 1) - from);
  const x = (at: number): number => LEFT + ((at - from) / span) * (WIDTH - LEFT - 4);
  const y = (value: number): number => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 8);
  const path = (points: readonly (number | undefined)[]): string => {
    let pen = 'M';
    let d = '';
    points.forEach((point, i) => {
      if (point === undefined) {
        pen = 'M';
        return;
      }
      d += `${pen}${x(chart.atMs[i] ?? 0).toFixed(1)} ${y(point).toFixed(1)}`;
      pen = 'L';
    });
    return d;
  };
  return html`<div class="chart">
    <h2>${chart.title}</h2>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${chart.title}">
      ${[0, 0.5, 1].map(
        (share) =>
          html`<line
              x1="${LEFT}"
              x2="${WIDTH}"
              y1="${y(top * share)}"
              y2="${y(top * share)}"
              stroke="currentColor"
              stroke-opacity=".15"
            />
            <text
              x="${LEFT - 6}"
              y="${y(top * share) + 4}"
              text-anchor="end"
              font-size="11"
              fill="currentColor"
              fill-opacity=".65"
              >${amount(top * share, chart.unit)}</text
            >`,
      )}
      ${chart.lines.map(
        (line) =>
          html`<path
            d="${path(line.points)}"
            fill="none"
            stroke="${colourOf(names, line.label)}"
            stroke-width="1.8"
          />`,
      )}
      <text x="${LEFT}" y="${HEIGHT - 3}" font-size="11" fill="currentColor" fill-opacity=".65">
        −${formatMs(span)}
      </text>
    </svg>
    <div class="key">
      ${chart.lines.map(
        (line) =>
          html`<span
            ><span class="dot" style="background:${colourOf(names, line.label)}"></span>${line.label}
            <b
              >${amount(
                line.points.findLast((point) => point !== undefined),
                chart.unit,
              )}</b
            ></span
          >`,
      )}
    </div>
  </div>`;
}

function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

function amount(value: number | undefined, unit: Chart['unit']): string {
  if (value === undefined) return '–';
  switch (unit) {
    case 's':
      return formatMs(value * 1000);
    case 'bytes':
      return `${(value / 2 ** 20).toFixed(0)} MiB`;
    case 'ratio':
      return `${(value * 100).toFixed(0)} %`;
    case '/s':
      return `${value < 10 ? value.toFixed(1) : value.toFixed(0)}/s`;
    default:
      return Number.isInteger(value) ? String(value) : value.toFixed(1);
  }
}
