import { escaped } from '../frame/line-chart.ts';

/** What `node --cpu-prof` writes. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  /** Ids of the nodes that were on top of the stack, one for each sample. */
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
  /** Microseconds of the monotonic clock. */
  readonly startTime: number;
}

/** A function with what it called. */
export interface Frame {
  readonly name: string;
  /** Microseconds in it and in what it called. */
  us: number;
  readonly children: Map<string, Frame>;
}

const WIDTH = 1200;
const ROW = 16;
const TOP = 46;
const CHARACTER_PX = 6.2;
const MOST_BYTES = 190_000;
/** Not work. */
const IDLE = '(idle)';

/**
 * The stacks of a profile as one tree, recursion included, less what the process was idle.
 *
 * @param window microseconds of the monotonic clock between which samples count: a start is no part of the load.
 */
export function flameTree(profile: CpuProfile, root: string, window: readonly [number, number] = [0, Infinity]): Frame {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const stackOf = (id: number): readonly string[] => {
    const names: string[] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = byId.get(at);
      if (node !== undefined && node.callFrame.functionName !== '(root)') names.push(nameOf(node.callFrame, root));
    }
    return names.toReversed();
  };
  const stacks = new Map(profile.nodes.map(({ id }) => [id, stackOf(id)]));
  const tree: Frame = { name: 'all', us: 0, children: new Map() };
  let nowUs = profile.startTime;
  for (const [at, id] of profile.samples.entries()) {
    const us = profile.timeDeltas[at] ?? 0;
    nowUs += us;
    const stack = stacks.get(id) ?? [];
    if (nowUs < window[0] || nowUs > window[1] || stack[0] === IDLE) continue;
    tree.us += us;
    let frame = tree;
    for (const name of stack) {
      const child = frame.children.get(name) ?? { name, us: 0, children: new Map() };
      frame.children.set(name, child);
      child.us += us;
      frame = child;
    }
  }
  return tree;
}

/** `function file:line`, with the file as a reader of the repository knows it: no path of the machine is kept. */
export function nameOf(
  { functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame'],
  root: string,
): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const path = url.startsWith('node:') ? url : decodeURIComponent(url.replace(/^file:\/\//, ''));
  const inPackage = path.split('/node_modules/').at(-1);
  const short = path.includes('/node_modules/')
    ? inPackage
    : path.startsWith(`${root}/`)
      ? path.slice(root.length + 1)
      : path.startsWith('node:')
        ? path
        : path.split('/').at(-1);
  return `${name} ${short}:${lineNumber + 1}`;
}

/**
 * A flame graph as an SVG document: who called from the top down, width by CPU time, a title under the pointer. What is too
 * narrow to see is left out until the file is small.
 */
export function flameGraph(tree: Frame, title: string): string {
  for (let leastPx = 0.5; ; leastPx *= 1.5) {
    const svg = drawn(tree, title, leastPx);
    if (Buffer.byteLength(svg) <= MOST_BYTES) return svg;
  }
}

function drawn(tree: Frame, title: string, leastPx: number): string {
  const px = WIDTH / Math.max(1, tree.us);
  const boxes: string[] = [];
  let deepest = 0;
  const draw = (frame: Frame, left: number, depth: number): void => {
    const width = frame.us * px;
    if (width < leastPx) return;
    deepest = Math.max(deepest, depth);
    const y = TOP + depth * ROW;
    const share = ((100 * frame.us) / tree.us).toFixed(1);
    const fits = Math.floor((width - 4) / CHARACTER_PX);
    const text = fits < 4 ? '' : frame.name.length <= fits ? frame.name : `${frame.name.slice(0, fits - 2)}..`;
    const label = text === '' ? '' : `<text x="${(left + 2).toFixed(1)}" y="${y + 12}">${escaped(text)}</text>`;
    boxes.push(
      `<g><title>${escaped(frame.name)}, ${share} %</title><rect x="${left.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="15" fill="${colourOf(frame.name)}"/>${label}</g>`,
    );
    let next = left;
    for (const child of [...frame.children.values()].toSorted((a, b) => b.us - a.us)) {
      draw(child, next, depth + 1);
      next += child.us * px;
    }
  };
  draw(tree, 0, 0);
  const height = TOP + (deepest + 1) * ROW + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10.3">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="4" y="18" font-size="14">${escaped(title)}</text>
<text x="4" y="36">${(tree.us / 1e6).toFixed(1)} s of CPU. Orange: Sluice. Blue: packages. Green: Node. Grey: V8 and native code. Point at a box for its name.</text>
${boxes.join('\n')}
</svg>
`;
}

/** By whose code it is. */
function colourOf(name: string): string {
  if (/ (?:libs|services|apps|dev|bench)\/\S+$/.test(name)) return '#f6a14b';
  if (/ node:\S+$/.test(name)) return '#9ad29a';
  if (/ \S+:\d+$/.test(name)) return '#8fb8e8';
  return '#cfcfcf';
}

/** The functions that cost most by themselves, callees not included, as shares of all. */
export function heaviest(tree: Frame, count: number): readonly (readonly [name: string, share: number])[] {
  const own = new Map<string, number>();
  const add = (frame: Frame): void => {
    const called = [...frame.children.values()].reduce((sum, { us }) => sum + us, 0);
    own.set(frame.name, (own.get(frame.name) ?? 0) + frame.us - called);
    for (const child of frame.children.values()) add(child);
  };
  for (const child of tree.children.values()) add(child);
  return [...own]
    .map(([name, us]) => [name, us / Math.max(1, tree.us)] as const)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, count);
}
