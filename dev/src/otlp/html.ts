import { LIVE_SCRIPT } from './live.ts';

/** A piece of HTML that may be inserted as it is. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Insert = string | number | Html | undefined | readonly Insert[];

/** HTML with every inserted value escaped: span names and log lines come from anywhere. */
export function html(parts: TemplateStringsArray, ...values: readonly Insert[]): Html {
  return new Html(parts.reduce((text, part, at) => text + render(values[at - 1]) + part));
}

function render(value: Insert): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(render).join('');
  return String(value).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A whole page in the viewer's frame. The element `#live` of a live page is kept current. */
export function page(title: string, body: Html, live = false): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · Sluice</title>
        <style>
          ${new Html(STYLE)}
        </style>
      </head>
      <body>
        <nav><b>Sluice</b> <a href="/">Traces</a> <a href="/logs">Logs</a> <a href="/charts">Charts</a></nav>
        <main>${body}</main>
        ${live ? new Html(`<script>${LIVE_SCRIPT}</script>`) : undefined}
      </body>
    </html>`.text;
}

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d8dde3, #343b44); --soft: light-dark(#5c6773, #9aa5b1);
  --panel: light-dark(#fff, #1b2027); --bad: light-dark(#c4232b, #ff7b72); --link: light-dark(#0b62c4, #79b8ff) }
* { box-sizing: border-box }
body { margin: 0; font: 14px/1.45 system-ui, sans-serif; background: light-dark(#f5f7f9, #12161b) }
nav { padding: 10px 20px; border-bottom: 1px solid var(--line); background: var(--panel) }
nav a { margin-left: 16px }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
main { padding: 16px 20px; max-width: 1400px; margin: 0 auto }
h1 { font-size: 18px; margin: 4px 0 4px } h2 { font-size: 15px; margin: 22px 0 8px }
.soft { color: var(--soft) } .bad { color: var(--bad) }
code, .mono, td.n { font-family: ui-monospace, monospace; font-size: 12.5px }
table { border-collapse: collapse; width: 100%; background: var(--panel); border: 1px solid var(--line) }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; color: var(--soft) } td.n, th.n { text-align: right; white-space: nowrap }
form { margin: 0 0 12px; display: flex; flex-wrap: wrap; gap: 8px }
input, select { font: inherit; padding: 4px 8px; max-width: 100% } input[name=q], input[name=jobId] { flex: 1 1 260px; max-width: 480px }
.waterfall { background: var(--panel); border: 1px solid var(--line) }
.waterfall details { border-bottom: 1px solid var(--line) }
.waterfall summary { display: grid; grid-template-columns: minmax(340px, 42%) 1fr; cursor: pointer; list-style: none }
.waterfall summary:hover { background: light-dark(#eef3f8, #222932) }
.name { padding: 3px 10px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.lane { position: relative; border-left: 1px solid var(--line); min-height: 26px }
.bar { position: absolute; top: 6px; height: 14px; border-radius: 3px; min-width: 2px }
.bar.bad { outline: 2px solid var(--bad) }
.path { position: absolute; top: 21px; height: 0; border-top: 2px solid var(--fg, currentColor) }
.path.wait { border-top-style: dotted }
.soft > .path { position: static; display: inline-block; width: 24px; vertical-align: middle }
.took { position: absolute; top: 4px; font-size: 12px; padding: 0 6px; white-space: nowrap }
.took.on { color: #fff }
.more { padding: 6px 10px 10px 28px; border-top: 1px dashed var(--line) }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 14px }
.chart { background: var(--panel); border: 1px solid var(--line); padding: 10px 12px }
.chart svg { display: block; width: 100%; height: auto } .chart h2 { margin: 0 0 6px }
.key { font-size: 12px; line-height: 1.6 } .key span { margin-right: 12px; white-space: nowrap }
@media (max-width: 700px) {
  nav, main { padding: 10px } nav a { margin-left: 10px }
  /* A row becomes a block: six columns are wider than a telephone. */
  table, tbody, tr, td { display: block; width: auto } tr:has(> th) { display: none }
  tr { padding: 8px 10px; border-bottom: 1px solid var(--line) } td { padding: 1px 0; border: 0; overflow-wrap: anywhere }
  td.n { display: inline; margin-right: 12px } td.n::before { content: attr(data-name) ' '; color: var(--soft) }
  .waterfall summary { grid-template-columns: 1fr } .lane { border-left: 0 }
  .charts { grid-template-columns: 1fr }
}
`;
