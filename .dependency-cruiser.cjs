// The walls of the house: which way imports run. `pnpm boundaries` holds them.
const lib = (name) => `^libs/${name}/`;
const not = (...allowed) => ({ path: '^(libs|services|dev|tests|bench|o11y)/', pathNot: allowed });
const source = (folder) => ({ path: `^${folder}/`, pathNot: ['\\.test\\.ts$', `^${folder}/tests/`] });
const wall = (name, from, comment, ...allowed) => ({ name, severity: 'error', comment, from, to: not(...allowed) });

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-undeclared',
      severity: 'error',
      comment: 'what a package imports stands in its own package.json',
      from: { pathNot: '^(vitest\\.config\\.ts|\\.dependency-cruiser\\.cjs)$' },
      to: { path: 'node_modules', dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-dev-dependency-at-run-time',
      severity: 'error',
      from: { path: '^(libs|services)/[^/]+/src/', pathNot: '\\.test\\.ts$|/testing/|/tests?/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    wall('contracts-know-nobody', source('libs/contracts'), 'the wire formats', lib('contracts')),
    wall('pipeline-stands-on-nothing', source('libs/pipeline'), 'the engine is publishable by itself', lib('pipeline')),
    {
      name: 'pipeline-has-no-client',
      severity: 'error',
      comment: 'ports only: no NATS client, no OpenTelemetry, no prom-client',
      from: { ...source('libs/pipeline'), path: '^libs/pipeline/src/' },
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer'] },
    },
    wall(
      'messaging-knows-contracts-and-the-engine',
      source('libs/messaging'),
      'NATS, and the engine port it implements',
      lib('messaging'),
      lib('contracts'),
      lib('pipeline'),
    ),
    {
      name: 'messaging-generic-parts-know-no-domain',
      severity: 'error',
      comment: 'nats/, kv/ and provision/ are what any NATS service needs; the catalogue is not among it',
      from: { path: '^libs/messaging/src/(nats|kv|provision)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^libs/(contracts/|messaging/src/(channels|pipelines|topology)/)' },
    },
    wall(
      'jobs-know-messaging',
      source('libs/jobs'),
      'the job state machine on the JOBS stream',
      lib('jobs'),
      lib('messaging'),
      lib('contracts'),
      lib('pipeline'),
    ),
    wall('telemetry-knows-the-engine', source('libs/telemetry'), 'no domain', lib('telemetry'), lib('pipeline')),
    wall(
      'cli-no-internal-imports',
      source('libs/cli'),
      'arguments and the running stack, for every command',
      lib('cli'),
    ),
    wall('storage-knows-nobody', source('libs/storage'), 'no domain', lib('storage')),
    wall('service-knows-telemetry', source('libs/service'), 'no domain', lib('service'), lib('telemetry')),
    wall(
      'worker-knows-no-domain-logic',
      source('libs/worker'),
      'joins a service to the bus with its telemetry',
      lib('worker'),
      lib('contracts'),
      lib('messaging'),
      lib('pipeline'),
      lib('service'),
      lib('telemetry'),
    ),
    {
      name: 'services-know-no-service',
      severity: 'error',
      comment: 'services talk through NATS, never through imports',
      from: { path: '^services/([^/]+)/', pathNot: ['\\.test\\.ts$', '^services/[^/]+/tests/'] },
      to: { path: '^(services|dev|tests|bench|o11y)/', pathNot: '^services/$1/' },
    },
    {
      name: 'libs-know-no-service',
      severity: 'error',
      from: { path: '^libs/' },
      to: { path: '^services/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(node_modules|dist|gen)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
