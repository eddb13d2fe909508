// The commands in the pages of the repository: which are executed by what, and which are not and why.

/** Every command of a page: the lines of its blocks marked `sh`, and indented ones. */
export function commandsOf(markdown: string): readonly string[] {
  const blocks = [...markdown.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = '']) => block);
  const indented = [...markdown.matchAll(/^ {4}((?:npx|pnpm|curl|docker|node) .*)$/gm)].map(([, line = '']) => line);
  return [...blocks.flatMap((block) => block.split('\n')), ...indented]
    .map((line) => line.replace(/\s+# .*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** `pnpm test:first-hour` executes the commands of README.md, then the requests of these pages on the same system. */
export const PAGES_WITH_REQUESTS = ['docs/getting-started.md', 'docs/image.md', 'docs/runbooks/README.md'] as const;

/** The requests of a page that fit on one line. */
export const requestsOf = (markdown: string): readonly string[] =>
  commandsOf(markdown).filter((command) => command.startsWith('curl -s') && !command.endsWith('\\'));

/** Commands of README.md that `pnpm test:first-hour` does not execute, and why. */
export const SKIPPED: readonly (readonly [RegExp, string])[] = [
  [/^docker /, 'needs a Docker engine; tests/compose.test.ts reads the files, `pnpm smoke` asks the running system'],
  [/^npx pnpm test\b/, 'every suite takes many minutes; CI runs it'],
  [/^npx pnpm bench$/, 'prints the list of bench/frame/benches.ts; bench/frame/benches.test.ts does it'],
];

/** Other commands, by page and text: the test that executes them, or why none does. */
export const OTHERS: readonly {
  readonly page: RegExp;
  readonly command: RegExp;
  readonly by?: string;
  readonly why?: string;
}[] = [
  { page: /adding-a-service/, command: /^npx pnpm (?:new service|check|test)/, by: 'tests/new-service.test.ts' },
  { page: /adding-a-service/, command: /./, why: 'the test that `pnpm new service` makes sends the same request' },
  { page: /^docs\/runbooks\//, command: /./, why: 'breaks a running Compose stack on purpose: needs Docker' },
  { page: /debugging/, command: /./, why: 'a session of five minutes with Prometheus, to be read and typed' },
  { page: /console/, command: /--filter @sluice\/console dev/, why: "Vite's server for work on the console" },
  { page: /^docs\/(?:gateway|operations|retention)/, command: /replay/, why: 'dates and files stand for your own' },
  { page: /^docs\/operations/, command: /^pnpm erase/, by: 'services/gateway/tests/erasure.test.ts' },
  { page: /./, command: /^npx pnpm test\b/, why: 'CI runs the whole' },
  {
    page: /./,
    command: /^npx pnpm bench\b/,
    why: 'takes minutes on a quiet machine; README.md and the pages it names have results',
  },
  { page: /^docs\/benchmarks/, command: /bench\/outside\.sh/, by: 'bench/outside.test.ts' },
  { page: /^docs\/benchmarks/, command: /gen:benchmarks-docs/, by: 'bench/docs/page.test.ts' },
  { page: /^docs\/benchmarks/, command: /pnpm flame/, by: 'bench/docs/flame-graph.test.ts' },
  { page: /^docs\/email/, command: /v1\/emails:batch/, by: 'services/gateway/tests/email-batch.test.ts' },
  { page: /^docs\/email/, command: /v1\/uploads/, by: 'services/gateway/tests/mail-attachments.test.ts' },
  { page: /^docs\/email/, command: /v1\/templates/, by: 'services/gateway/tests/templates.test.ts' },
  { page: /^docs\/email/, command: /v1\/emails -H/, by: 'services/gateway/tests/jobs.test.ts' },
  { page: /^docs\/email/, command: /suppressions/, by: 'services/gateway/tests/suppressions.test.ts' },
  { page: /client/, command: /--help$/, by: 'tests/root-scripts.test.ts' },
  { page: /email/, command: /email (?:faults|templates|screenshots)/, why: 'prints or draws what the suites hold' },
  { page: /image/, command: /pngsuite/, why: 'fetches 160 kB from the Debian archive; CI does it' },
  { page: /^deploy|cluster/, command: /^(?:docker|npx pnpm smoke)/, why: 'needs a Docker engine' },
  { page: /^deploy/, command: /test:compose/, why: 'needs a Docker engine, and is a test itself' },
  { page: /^deploy/, command: /pin:images/, why: 'asks the registries; tests/production.test.ts takes what it writes' },
  { page: /^(deploy|docs\/nats)/, command: /init:production/, why: 'asks for a domain of your own' },
  { page: /^docs\/nats/, command: /^npx pnpm keys list/, by: 'tests/e2e/least-privilege.test.ts' },
  { page: /^docs\/cli/, command: /completion/, why: 'are lines for the profile of your shell' },
  { page: /./, command: /--slow-mail/, by: 'dev/src/commands/dev.test.ts' },
];
