import { AnchorError, type Edit } from './edits.ts';
import type { KindNames } from './names.ts';

export const USERS_CONF = 'deploy/nats/users.conf';

/**
 * What a service that works on jobs may do on the broker: what the image service may, which has nothing there besides
 * its jobs.
 */
function permissionsOf({ name, upper }: KindNames, usersConf: string): string {
  const block = /^MAY_IMAGE = \{\n[\s\S]*?\n\}\n/m.exec(usersConf)?.[0];
  if (block === undefined) throw new AnchorError(`${USERS_CONF}: "MAY_IMAGE = {" is not there`);
  return block
    .replaceAll('user.image.converted', `user.${name}.done`)
    .replaceAll('IMAGES', upper)
    .replaceAll('IMAGE', upper)
    .replaceAll('image', name);
}

/**
 * Where a kind is entered, file by file. `number` is its number on the wire, in the enum and in both oneofs, and
 * `usersConf` the text of `deploy/nats/users.conf`.
 */
export function editsOf(
  { name, type, upper }: KindNames,
  number: { kind: number; request: number; result: number },
  usersConf: string,
): readonly Edit[] {
  const contracts = 'libs/contracts/src';
  const gateway = 'services/gateway/src';
  const before = (file: string, at: string, insert: string): Edit => ({ file, at, insert, where: 'before' });
  const after = (file: string, at: string, insert: string): Edit => ({ file, at, insert, where: 'after' });
  return [
    after('protos/sluice/v1/jobs.proto', 'import "sluice/v1/image.proto";\n', `import "sluice/v1/${name}.proto";\n`),
    after('protos/sluice/v1/jobs.proto', '  JOB_KIND_EMAIL = 2;\n', `  JOB_KIND_${upper} = ${number.kind};\n`),
    after(
      'protos/sluice/v1/jobs.proto',
      '    EmailRequest email = 2;\n',
      `    ${type}Request ${name} = ${number.request};\n`,
    ),
    after(
      'protos/sluice/v1/jobs.proto',
      '    EmailResult email = 2;\n',
      `    ${type}Result ${name} = ${number.result};\n`,
    ),

    before(`${contracts}/catalogue.ts`, "  | 'CLIENTS'\n", `  | '${upper}'\n  | '${upper}_EXPRESS'\n`),
    before(
      `${contracts}/catalogue.ts`,
      'import {\n  ConvertImageRequestSchema,',
      `import { ${type}DoneSchema, ${type}WorkSchema } from './gen/sluice/v1/${name}_pb.ts';\n`,
    ),
    before(
      `${contracts}/catalogue.ts`,
      '  clientImageConverted: channel(',
      `  ${name}Work: channel('${name}.work.run', '${upper}', ${type}WorkSchema, 'work: ${name}'),
  ${name}WorkExpress: channel('${name}.express.run', '${upper}_EXPRESS', ${type}WorkSchema, 'the express lane of it'),
  ${name}Done: channel('user.${name}.done', 'RESULTS', ${type}DoneSchema, 'result of ${name} work'),
  client${type}Done: channel('client.${name}.done', 'CLIENTS', JobFinishedSchema, 'callback: a job of ${name} ended'),

`,
    ),
    before(
      `${contracts}/job-kinds.ts`,
      '} as const satisfies Record<JobKindName, JobKindSpec>;',
      `  ${name}: {
    value: JobKind.${upper},
    about: '${name} work',
    service: '${name}',
    lanes: { normal: '${upper}', express: '${upper}_EXPRESS' },
    sources: [{ consumer: '${name}_worker', normal: channels.${name}Work, express: channels.${name}WorkExpress }],
    result: { channel: channels.${name}Done, consumer: '${name}_done' },
    callback: channels.client${type}Done,
  },
`,
    ),
    before(
      `${contracts}/index.ts`,
      'export {\n  ConvertImageRequestSchema,',
      `export {
  ${type}DoneSchema,
  ${type}RequestSchema,
  ${type}WorkSchema,
  type ${type}Done,
  type ${type}Request,
  type ${type}Work,
} from './gen/sluice/v1/${name}_pb.ts';
`,
    ),

    before(
      `${gateway}/jobs/kinds/index.ts`,
      "import type { KindRules, ResultView } from './kind.ts';",
      `import { ${name}Kind } from './${name}.ts';\n`,
    ),
    after(`${gateway}/jobs/kinds/index.ts`, '  email: emailKind,\n', `  ${name}: ${name}Kind,\n`),
    before(
      `${gateway}/http/routes.ts`,
      "import { jobRoutes } from './routes/jobs.ts';",
      `import { ${name}Routes } from './routes/${name}.ts';\n`,
    ),
    after(`${gateway}/http/routes.ts`, '  emailRoutes(app, deps);\n', `  ${name}Routes(app, deps);\n`),

    // Its POST takes an Idempotency-Key.
    before('libs/client/src/api.ts', "  '/v1/users': true,\n", `  '/v1/${name}': true,\n`),

    before('Dockerfile', 'COPY bench/package.json bench/', `COPY services/${name}/package.json services/${name}/\n`),
    before(
      'docker-compose.yml',
      '  client:\n    <<: *work\n',
      `  ${name}:
    <<: *work
    build: { context: ., args: { SERVICE: ${name} } }
    image: sluice-${name}
    environment: *service-env
    mem_limit: 256m
    depends_on:
      gateway: { condition: service_healthy }

`,
    ),
    before(
      'deploy/compose/prod.yml',
      '  # Commands of an operator, on request',
      `  ${name}:
    environment:
      <<: *broker
      S3_ENDPOINT: !reset null
      S3_PUBLIC_ENDPOINT: !reset null
      S3_BUCKET: !reset null
      S3_ACCESS_KEY_ID: !reset null
      S3_SECRET_ACCESS_KEY: !reset null
    volumes: [*ca, './deploy/secrets/nats/${name}.seed:/run/sluice/nats.seed:ro']

`,
    ),
    after(
      'deploy/compose/prod.yml',
      '      NATS_CLIENT_NKEY: ${NATS_CLIENT_NKEY:?run npx pnpm init:production --nats}\n',
      `      NATS_${upper}_NKEY: \${NATS_${upper}_NKEY:?run npx pnpm init:production --nats}\n`,
    ),
    before(
      'deploy/compose/cluster.yml',
      '\n  nats:\n    environment: { SERVER_NAME: nats }',
      `  ${name}:\n    deploy: { replicas: 2 }\n    environment: *brokers\n`,
    ),
    after('.github/workflows/release.yml', 'service: [gateway, image, email, ', `${name}, `),
    before(
      'deploy/helm/sluice/values.yaml',
      '  client:\n    replicas: 2\n',
      `  ${name}:
    replicas: 2
    secret: sluice-${name}
    secretKeys: [NATS_NKEY_SEED, LOG_REDACTION_KEY]
    store: false
    env: {}
    resources:
      requests: { cpu: 100m, memory: 256Mi }
      limits: { memory: 256Mi }
    egress: [dns, nats, collector]
    scale:
      min: 2
      max: 6
      perReplica: 500
      consumers:
        - { stream: ${upper}, consumer: ${name}_worker }
        - { stream: ${upper}_EXPRESS, consumer: ${name}_worker }
`,
    ),
    before(
      'o11y/prometheus/prometheus.yml',
      '  - job_name: client\n',
      `  - job_name: ${name}\n    dns_sd_configs: [{ names: [${name}], type: A, port: 9464, refresh_interval: 5s }]\n`,
    ),
    after(
      'o11y/prometheus/rules/services.yml',
      'or absent(up{job="client"} == 1)\n',
      `            or absent(up{job="${name}"} == 1)\n`,
    ),
    before(
      'o11y/prometheus/tests/services.yml',
      `      - { series: 'up{job="client",instance="client:9464"}', values: '1x200' }\n`,
      `      - { series: 'up{job="${name}",instance="${name}:9464"}', values: '1x200' }\n`,
    ),
    before('o11y/prometheus/rules/pipelines.yml', '|CLIENTS"}) > 900', `|${upper}`),
    before(
      'o11y/src/dashboards/index.ts',
      "import { node } from './node.ts';",
      `import { ${name} } from './${name}.ts';\n`,
    ),
    after('o11y/src/dashboards/index.ts', '  email,\n', `  ${name},\n`),
    after('tests/telemetry/other-kinds.ts', '  email: undefined,\n', `  ${name}: { text: 'hello' },\n`),
    // What answers in production.
    after('docs/exposure.md', '`POST /v1/users` ', `\`POST /v1/${name}\` `),
    before('docs/exposure.md', '| client | 9464 |', `| ${name} | 9464 | health and metrics | nothing | default |\n`),
    before(
      'tests/exposure.test.ts',
      "  client: [['9464', 'health and metrics', 'nothing']],\n",
      `  ${name}: [['9464', 'health and metrics', 'nothing']],\n`,
    ),
    // What the gateway gives out as work, and an operator sends again.
    after(USERS_CONF, '      "jobs.>", "user.>", ', `"${name}.>", `),
    after(USERS_CONF, '      "user.>", ', `"${name}.>", `),
    before(USERS_CONF, 'MAY_CLIENT = {', `${permissionsOf({ name, type, upper }, usersConf)}\n`),
    before(
      USERS_CONF,
      '    { nkey: $NATS_CLIENT_NKEY,',
      `    { nkey: $NATS_${upper}_NKEY, permissions: $MAY_${upper} }
`,
    ),
  ];
}
