import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { colourOf, whenColoursChange } from './colours.ts';
import { timeText } from './format.ts';

/** Between two marks of the time: whole seconds, and what people count in. */
const INCREMENTS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600];

export interface Line {
  readonly name: string;
  /** A custom property of the style sheet: `--work`. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

/** Lines over time. What it shows stands in words beside it; the picture itself is for the eye. */
export function Chart(props: {
  readonly label: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly height?: number;
  /** Seconds that are shown at least; before there is data for them, the left is empty. */
  readonly leastSeconds?: number;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const names = props.lines.map(({ name }) => name).join('|');
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const resolved = (name: string) => (): string => colourOf(name);
    const axis = {
      stroke: resolved('--quiet'),
      grid: { stroke: resolved('--line'), width: 1 },
      ticks: { show: false },
    };
    const made = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height: props.height ?? 180,
        legend: { show: false },
        cursor: { show: false },
        // The last mark of the time stands half beside the lines.
        padding: [null, 40, null, null],
        axes: [
          {
            ...axis,
            space: 90,
            size: 32,
            incrs: INCREMENTS_S,
            values: (_plot, times) => times.map((atS) => timeText(atS * 1_000)),
          },
          { ...axis, size: 48 },
        ],
        scales: {
          x: { range: (_plot, from, to) => [Math.min(from, to - (props.leastSeconds ?? 1)), to] },
          y: { range: (_plot, _least, most) => [0, Math.max(1, most * 1.1)] },
        },
        series: [
          {},
          ...props.lines.map((line) => ({
            label: line.name,
            stroke: resolved(line.colour),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      [[], ...props.lines.map(() => [])],
      element,
    );
    plot.current = made;
    const sizes = new ResizeObserver(() => {
      const width = Math.max(200, element.clientWidth);
      if (width !== made.width) made.setSize({ width, height: made.height });
    });
    sizes.observe(element);
    const unfollow = whenColoursChange(() => made.redraw());
    return () => {
      unfollow();
      sizes.disconnect();
      made.destroy();
    };
  }, [names]);
  useEffect(() => {
    plot.current?.setData([[...props.times], ...props.lines.map(({ values }) => [...values])]);
  }, [props.times, names]);
  return (
    <figure class="chart">
      <figcaption class="row">
        {props.label}
        {props.lines.map(({ name, colour }) => (
          <span key={name} class="quiet">
            <i class="swatch" style={{ background: `var(${colour})` }} /> {name}
          </span>
        ))}
      </figcaption>
      <div ref={box} aria-hidden="true" />
    </figure>
  );
}
