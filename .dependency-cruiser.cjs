// Import rules: which package and which folder may import which. Run by `pnpm boundaries`.
const lib = (name) => `^libs/${name}/`;
const not = (...allowed) => ({ path: '^(libs|services|apps|dev|tests|bench|o11y)/', pathNot: allowed });
const source = (folder) => ({ path: `^${folder}/`, pathNot: ['\\.test\\.ts$', `^${folder}/tests/`] });
const only = (name, from, comment, ...allowed) => ({ name, severity: 'error', comment, from, to: not(...allowed) });

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
    only('client-no-internal-imports', source('libs/client'), 'published, and for browsers', lib('client')),
    only('contracts-no-imports', source('libs/contracts'), 'the wire formats', lib('contracts')),
    only(
      'pipeline-no-internal-imports',
      source('libs/pipeline'),
      'the engine is publishable by itself',
      lib('pipeline'),
    ),
    {
      name: 'pipeline-no-client-libraries',
      severity: 'error',
      comment:
        'ports only: no NATS client, no OpenTelemetry, no prom-client, but in the entries that are made for them',
      from: {
        ...source('libs/pipeline'),
        path: '^libs/pipeline/src/',
        pathNot: '^libs/pipeline/src/(conformance|otel|prometheus)/',
      },
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer'] },
    },
    only(
      'messaging-imports-contracts-and-pipeline',
      source('libs/messaging'),
      'NATS, and the engine port it implements',
      lib('messaging'),
      lib('contracts'),
      lib('pipeline'),
    ),
    {
      name: 'messaging-generic-no-domain',
      severity: 'error',
      comment: 'nats/, kv/ and provision/ are what any NATS service needs; the catalogue is not among it',
      from: { path: '^libs/messaging/src/(nats|kv|provision)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^libs/(contracts/|messaging/src/(channels|pipelines|topology)/)' },
    },
    only(
      'jobs-imports-messaging-and-below',
      source('libs/jobs'),
      'the job state machine on the JOBS stream',
      lib('jobs'),
      lib('messaging'),
      lib('contracts'),
      lib('pipeline'),
    ),
    only(
      'suppression-imports-messaging',
      source('libs/suppression'),
      'addresses that get no mail, for the gateway and the e-mail service',
      lib('suppression'),
      lib('messaging'),
    ),
    only(
      'outbound-no-internal-imports',
      source('libs/outbound'),
      'which addresses may be called, for webhooks and for images by URL',
      lib('outbound'),
    ),
    only('telemetry-imports-pipeline', source('libs/telemetry'), 'no domain', lib('telemetry'), lib('pipeline')),
    only(
      'cli-no-internal-imports',
      source('libs/cli'),
      'arguments and the running stack, for every command',
      lib('cli'),
    ),
    only('storage-no-internal-imports', source('libs/storage'), 'no domain', lib('storage')),
    only(
      'service-imports-telemetry',
      { path: '^libs/service/', pathNot: ['\\.test\\.ts$', '^libs/service/src/worker/'] },
      'no domain, and no broker but in the entries that are made for it',
      lib('service'),
      lib('telemetry'),
    ),
    only(
      'worker-imports-libraries-only',
      source('libs/service/src/worker'),
      'joins a service to the bus with its telemetry',
      lib('cli'),
      lib('contracts'),
      lib('messaging'),
      lib('pipeline'),
      lib('service'),
      lib('telemetry'),
    ),
    {
      name: 'services-no-cross-imports',
      severity: 'error',
      comment: 'services talk through NATS, never through imports',
      from: { path: '^services/([^/]+)/', pathNot: ['\\.test\\.ts$', '^services/[^/]+/tests/'] },
      to: { path: '^(services|apps|dev|tests|bench|o11y)/', pathNot: '^services/$1/' },
    },
    {
      name: 'features-import-no-transport',
      severity: 'error',
      comment: 'a feature can be read and tested without HTTP, gRPC or NATS; transports map its errors',
      from: { path: '^services/([^/]+)/src/(?!(http|grpc|nats|cli)/)[^/]+/', pathNot: '\\.test\\.ts$' },
      to: { path: '^services/$1/src/(http|grpc|nats|cli)/' },
    },
    {
      name: 'features-import-no-web-framework',
      severity: 'error',
      from: { path: '^services/([^/]+)/src/(?!(http|grpc|cli)/)[^/]+/', pathNot: '\\.test\\.ts$' },
      to: { path: 'node_modules/(fastify|@fastify|@connectrpc)' },
    },
    {
      name: 'libs-no-services',
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
