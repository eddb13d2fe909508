import { colourOf } from './colours.ts';
import { criticalPath, type PathSection } from './critical-path.ts';
import { html, page, type Html } from './html.ts';
import type { Attributes, LogRecord, SpanRecord } from './otlp-json.ts';
import { JOB_ATTRIBUTE } from './trace-store.ts';
import { formatMs, traceTree, type TraceNode } from './trace-tree.ts';

/** A trace as a waterfall: a row a span, its bar where and as long as it ran; then the trace's log lines. */
export function tracePage(spans: readonly SpanRecord[], logs: readonly LogRecord[]): string {
  const [first] = spans;
  if (first === undefined)
    return page(
      'No such trace',
      html`<h1>No such trace</h1>
        <p>It may have made room for newer ones.</p>`,
    );
  const beginMs = Math.min(...spans.map((span) => span.startMs));
  const endMs = Math.max(...spans.map((span) => span.startMs + span.durationMs));
  const services = [...new Set(spans.map((span) => span.service))];
  const jobs = [...new Set(spans.map((span) => span.attributes[JOB_ATTRIBUTE]))].filter((id) => typeof id === 'string');
  const path = Map.groupBy(criticalPath(spans), ({ span }) => span);
  const scale: Scale = { beginMs, totalMs: Math.max(0.001, endMs - beginMs), services, spans, path };
  return page(
    first.name,
    html` <h1>${first.name}</h1>
      <p class="soft">
        <code>${first.traceId}</code> · ${spans.length} spans · ${formatMs(endMs - beginMs)} ·
        ${new Date(beginMs).toISOString()}
        ${jobs.map((job) => html` · job <a href="/logs?jobId=${job}"><code>${job}</code></a>`)}
      </p>
      <p>
        ${services.map((service) => html`<span class="dot" style="background:${colourOf(services, service)}"></span>${service} &nbsp; `)}
        <span class="soft"
          ><span class="path work"></span> critical path, <span class="path wait"></span> in a queue</span
        >
      </p>
      <div class="waterfall">${traceTree(spans).map((node) => rows(node, 0, scale))}</div>
      <h2>Logs of this trace</h2>
      ${logTable(logs, beginMs)}`,
  );
}

interface Scale {
  readonly beginMs: number;
  readonly totalMs: number;
  readonly services: readonly string[];
  readonly spans: readonly SpanRecord[];
  readonly path: ReadonlyMap<SpanRecord, readonly PathSection[]>;
}

function rows(node: TraceNode, depth: number, scale: Scale): Html {
  const { span } = node;
  const left = ((span.startMs - scale.beginMs) / scale.totalMs) * 100;
  const width = Math.max(0.15, (span.durationMs / scale.totalMs) * 100);
  // The duration stands beside the bar, on the side where there is room, or in a bar that leaves none.
  const inside = left < 15 && left + width > 85;
  const took =
    inside || left + width <= 85
      ? `left:${(inside ? left : left + width).toFixed(2)}%`
      : `right:${(100 - left).toFixed(2)}%`;
  const colour = colourOf(scale.services, span.service);
  return html` <details id="${span.spanId}">
      <summary>
        <div class="name" style="padding-left:${10 + depth * 16}px">
          <span class="dot" style="background:${colour}"></span>${
            span.failed ? html`<b class="bad">${span.name}</b>` : span.name
          } <span class="soft">${span.service}${span.links.length > 0 ? ' ⇠' : ''}</span>
        </div>
        <div class="lane">
          <div
            class="bar${span.failed ? ' bad' : ''}"
            style="left:${left.toFixed(2)}%;width:${width.toFixed(2)}%;background:${colour}"
          ></div>
          ${(scale.path.get(span) ?? []).map((section) => pathLine(section, scale))}
          <span class="took ${inside ? 'on' : 'soft'}" style="${took}">${formatMs(span.durationMs)}</span>
        </div>
      </summary>
      <div class="more">${detail(node, scale)}</div>
    </details>
    ${node.children.map((child) => rows(child, depth + 1, scale))}`;
}

/** A stretch of the critical path: a line in the span's bar, or a broken one before it while its message was queued. */
function pathLine({ kind, fromMs, toMs }: PathSection, { beginMs, totalMs }: Scale): Html {
  const left = ((fromMs - beginMs) / totalMs) * 100;
  const width = ((toMs - fromMs) / totalMs) * 100;
  return html`<div class="path ${kind}" style="left:${left.toFixed(2)}%;width:${width.toFixed(2)}%"></div>`;
}

function detail({ span, orphan }: TraceNode, scale: Scale): Html {
  return html` <p class="soft">
      ${span.kind} · ${span.instance} · starts +${formatMs(span.startMs - scale.beginMs)} ·
      <code>${span.spanId}</code> ${orphan ? ' · its parent has not arrived' : ''}
    </p>
    ${span.statusMessage === undefined ? undefined : html`<p class="bad">${span.statusMessage}</p>`}
    ${span.links.map((link) => {
      const target = scale.spans.find((each) => each.spanId === link.spanId);
      const name = target === undefined ? `trace ${link.traceId}` : `${target.name} (${target.service})`;
      return html`<p>⇠ linked to <a href="/trace/${link.traceId}#${link.spanId}">${name}</a></p>`;
    })}
    ${span.events.map(
      (event) =>
        html`<p>+${formatMs(event.atMs - scale.beginMs)} <b>${event.name}</b> ${attributes(event.attributes)}</p>`,
    )}
    <p>${attributes(span.attributes)}</p>`;
}

function attributes(values: Attributes): Html {
  return html`${Object.entries(values).map(([name, value]) => html`<code>${name}</code>=<code>${String(value)}</code> &nbsp; `)}`;
}

/** Log lines, newest last; times from `beginMs` on, or of day when there is none. */
export function logTable(logs: readonly LogRecord[], beginMs?: number): Html {
  if (logs.length === 0) return html`<p class="soft">none</p>`;
  return html`<table>
    <tr>
      <th class="n">time</th>
      <th>service</th>
      <th>level</th>
      <th>message</th>
      <th>trace</th>
    </tr>
    ${logs.map((log) => {
      const bad = log.level === 'error' || log.level === 'fatal';
      const { job_id: _, ...rest } = log.attributes;
      return html`<tr>
        <td class="n">
          ${beginMs === undefined ? new Date(log.atMs).toISOString().slice(11, 23) : `+${formatMs(log.atMs - beginMs)}`}
        </td>
        <td>${log.instance || log.service}</td>
        <td class="${bad ? 'bad' : 'soft'}">${log.level}</td>
        <td>${log.message} <span class="soft">${attributes(rest)}</span></td>
        <td>
          ${log.traceId === undefined ? undefined : html`<a href="/trace/${log.traceId}#${log.spanId ?? ''}"><code>${log.traceId.slice(0, 8)}</code></a>`}
        </td>
      </tr>`;
    })}
  </table>`;
}
