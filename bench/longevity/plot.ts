import type { Series } from './samples.ts';

const WIDTH = 900;
const HEIGHT = 320;
const LEFT = 60;
const RIGHT = 160;
const TOP = 34;
const BOTTOM = 34;
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b'];

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** Bytes over seconds as an SVG document, a line for each series with its name at its end. */
export function lineChart(title: string, series: readonly Series[]): string {
  const all = series.flatMap(({ points }) => points);
  const lastSecond = Math.max(1, ...all.map(([second]) => second));
  const most = Math.max(1, ...all.map(([, bytes]) => bytes / 1e6)) * 1.05;
  const x = (second: number): number => LEFT + (second / lastSecond) * (WIDTH - LEFT - RIGHT);
  const y = (mb: number): number => HEIGHT - BOTTOM - (mb / most) * (HEIGHT - TOP - BOTTOM);
  const grid = Array.from({ length: 5 }, (_, i) => (most * i) / 4).map(
    (mb) =>
      `<path d="M${LEFT} ${y(mb).toFixed(1)}H${WIDTH - RIGHT}" stroke="#ddd"/><text x="${LEFT - 6}" y="${(y(mb) + 4).toFixed(1)}" text-anchor="end">${Math.round(mb)}</text>`,
  );
  const lines = series.map(({ name, points }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = points.map(([second, bytes]) => `${x(second).toFixed(1)},${y(bytes / 1e6).toFixed(1)}`).join(' ');
    const label = `<text x="${WIDTH - RIGHT + 8}" y="${TOP + 16 * (index + 1)}" fill="${colour}">${escaped(name)}</text>`;
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>${label}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${LEFT}" y="20" font-size="13">${escaped(title)}</text>
${grid.join('\n')}
<text x="${WIDTH - RIGHT}" y="${HEIGHT - 12}" text-anchor="end">${Math.round(lastSecond)} s</text>
${lines.join('\n')}
</svg>
`;
}
