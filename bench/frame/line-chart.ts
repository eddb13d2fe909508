import { figure } from './table.ts';

const WIDTH = 900;
const HEIGHT = 320;
const LEFT = 60;
const RIGHT = 180;
const TOP = 34;
const BOTTOM = 34;
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b', '#e377c2', '#7f7f7f'];

/** What a chart shows. */
export interface LineChart {
  readonly title: string;
  /** Written after the largest value of the horizontal axis: `s`. */
  readonly xUnit: string;
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Lines from zero on as an SVG document, each with its name beside it. */
export function lineChart({ title, xUnit, lines }: LineChart): string {
  const all = lines.flatMap(({ points }) => points);
  const farthest = Math.max(1, ...all.map(([at]) => at));
  const most = (Math.max(0, ...all.map(([, value]) => value)) || 1) * 1.05;
  const x = (at: number): number => LEFT + (at / farthest) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  const grid = Array.from({ length: 5 }, (_, i) => (most * i) / 4).map(
    (value) =>
      `<path d="M${LEFT} ${y(value).toFixed(1)}H${WIDTH - RIGHT}" stroke="#ddd"/><text x="${LEFT - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${figure(value)}</text>`,
  );
  const drawn = lines.map(({ name, points }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
    const label = `<text x="${WIDTH - RIGHT + 8}" y="${TOP + 16 * (index + 1)}" fill="${colour}">${escaped(name)}</text>`;
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>${label}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${LEFT}" y="20" font-size="13">${escaped(title)}</text>
${grid.join('\n')}
<text x="${WIDTH - RIGHT}" y="${HEIGHT - 12}" text-anchor="end">${figure(farthest)} ${escaped(xUnit)}</text>
${drawn.join('\n')}
</svg>
`;
}

/** Values by name as bars, the largest as wide as the picture allows. */
export function barChart({
  title,
  bars,
}: {
  title: string;
  bars: readonly (readonly [string, number, string])[];
}): string {
  const ROW = 22;
  const NAME = 330;
  const height = TOP + ROW * bars.length + 12;
  const most = Math.max(0, ...bars.map(([, value]) => value)) || 1;
  const drawn = bars.map(([name, value, unit], index) => {
    const top = TOP + ROW * index;
    const wide = ((WIDTH - NAME - 150) * value) / most;
    const label = `${figure(value)} ${unit}`;
    return `<text x="${NAME - 8}" y="${top + 14}" text-anchor="end">${escaped(name)}</text><rect x="${NAME}" y="${top + 3}" width="${wide.toFixed(1)}" height="${ROW - 6}" fill="${COLOURS[0]}"/><text x="${(NAME + wide + 6).toFixed(1)}" y="${top + 14}">${escaped(label)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="${LEFT}" y="20" font-size="13">${escaped(title)}</text>
${drawn.join('\n')}
</svg>
`;
}
