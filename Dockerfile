# One image recipe for the four services:
#   docker build --build-arg SERVICE=image -t sluice-image .
# No "# syntax" line: BuildKit's built-in frontend has all that is used here, and a build needs no other registry.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS deps
ENV CI=true
RUN --mount=type=cache,id=npm,target=/npm npm install --global --cache /npm pnpm@12.21.0
WORKDIR /app
# The manifests first: the layer with the dependencies stays while only sources change.
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY libs/cli/package.json libs/cli/
COPY libs/client/package.json libs/client/
COPY libs/contracts/package.json libs/contracts/
COPY libs/jobs/package.json libs/jobs/
COPY libs/mail-templates/package.json libs/mail-templates/
COPY libs/messaging/package.json libs/messaging/
COPY libs/outbound/package.json libs/outbound/
COPY libs/pipeline/package.json libs/pipeline/
COPY libs/service/package.json libs/service/
COPY libs/storage/package.json libs/storage/
COPY libs/suppression/package.json libs/suppression/
COPY libs/telemetry/package.json libs/telemetry/
COPY services/client/package.json services/client/
COPY services/email/package.json services/email/
COPY services/gateway/package.json services/gateway/
COPY services/image/package.json services/image/
COPY apps/command-line/package.json apps/command-line/
COPY apps/console/package.json apps/console/
COPY bench/package.json bench/
COPY dev/package.json dev/
COPY o11y/package.json o11y/
COPY tests/package.json tests/
ARG SERVICE
# The image has Node already, and needs no pnpm: 180 MB that the repository brings for people's machines.
# @sluice/pipeline depends on nothing: who uses its entries /otel, /prometheus and /nats brings what they import. In the
# workspace they are its development dependencies; here it finds them in /app/node_modules.
RUN --mount=type=cache,id=pnpm-store,target=/pnpm/store \
    printf 'publicHoistPattern: [prom-client, "@opentelemetry/api", "@nats-io/transport-node"]\n' >> pnpm-workspace.yaml \
 && pnpm install --frozen-lockfile --prod --filter "{services/${SERVICE}}..." --store-dir /pnpm/store \
 && rm -rf node_modules/.pnpm/node-*-x64@* node_modules/.pnpm/node-*-arm64@* node_modules/node-* node_modules/.bin/node \
      node_modules/.pnpm/pnpm@* node_modules/.pnpm/@pnpm+exe* node_modules/pnpm node_modules/.bin/pn*

# The console, which the gateway serves. The other images have an empty folder in its place.
FROM deps AS console
ARG SERVICE
# The console's tsconfig.json extends it, and Vite reads both.
COPY tsconfig.base.json ./
COPY apps/console apps/console
# The console asks the gateway by it.
COPY libs/client libs/client
RUN --mount=type=cache,id=pnpm-store,target=/pnpm/store \
    mkdir -p apps/console/dist \
 && if [ "${SERVICE}" = gateway ]; then \
      pnpm install --frozen-lockfile --prod --filter "@sluice/console..." --store-dir /pnpm/store && node apps/console/build.ts; \
    fi

FROM ${NODE_IMAGE}
ARG SERVICE
LABEL org.opencontainers.image.title="sluice-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"
# MALLOC_ARENA_MAX: libvips allocates on many threads, and glibc keeps an arena for each of them.
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    OPS_PORT=9464 \
    MALLOC_ARENA_MAX=2
# The workspace layout is kept: below node_modules Node would not strip the types.
COPY --from=deps /app /app
COPY --from=console /app/apps/console/dist /app/apps/console/dist
COPY libs /app/libs
COPY services/${SERVICE} /app/services/${SERVICE}
USER node
WORKDIR /app/services/${SERVICE}
EXPOSE 9464
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.OPS_PORT}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Node itself, not `pnpm run`: it gets the signals, and nothing tries to install at start.
CMD ["node", "src/main.ts"]
