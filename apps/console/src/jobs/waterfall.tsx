import { useMemo } from 'preact/hooks';
import { durationText } from '../ui/format.ts';
import { VirtualList } from '../ui/virtual-list.tsx';
import { totals, type Span } from './spans.ts';

const ROW_PX = 30;

/** The stages of a job over time: bars for work, hatched bars for waiting. */
export function Waterfall({ spans }: { readonly spans: readonly Span[] }) {
  const { fromMs, wholeMs, workMs, waitMs } = useMemo(() => measure(spans), [spans]);
  if (spans.length === 0) return <p class="quiet">Nothing has been reported yet.</p>;
  return (
    <div class="stack">
      <p>
        {durationText(wholeMs)} in all: <strong>{durationText(workMs)} work</strong>,{' '}
        <strong>{durationText(waitMs)} waiting</strong>
      </p>
      <div class="waterfall">
        <VirtualList items={spans} rowHeight={ROW_PX} height="30rem" label="Stages">
          {(span) => (
            <div class="line">
              <span class="what" title={span.by === '' ? span.label : `${span.label} · ${span.by}`}>
                {span.label}
                {span.by !== '' && <span class="quiet"> · {span.by}</span>}
              </span>
              <span class="track" aria-hidden="true">
                <span
                  class={`bar ${span.kind === 'wait' ? 'wait' : ''} ${span.failed ? 'bad' : ''} ${span.open ? 'running' : ''}`}
                  style={{
                    left: `${((span.fromMs - fromMs) / wholeMs) * 100}%`,
                    width: `${((span.toMs - span.fromMs) / wholeMs) * 100}%`,
                  }}
                />
              </span>
              <span class="number">
                {durationText(span.toMs - span.fromMs)}
                {span.open ? '…' : ''}
              </span>
            </div>
          )}
        </VirtualList>
      </div>
    </div>
  );
}

function measure(spans: readonly Span[]) {
  const fromMs = spans[0]?.fromMs ?? 0;
  const untilMs = spans.reduce((latest, { toMs }) => Math.max(latest, toMs), fromMs);
  return { fromMs, wholeMs: Math.max(1, untilMs - fromMs), ...totals(spans) };
}
