/** What docs/benchmarks.md says before its figures. Wrapped at 100 columns, as every page. */
export const about = `
\`\`\`sh
npx pnpm bench                    # the list
npx pnpm bench all --quick        # most of them, within five minutes
npx pnpm bench all --json out/benchmarks    # all of them whole, some two hours
npx pnpm gen:benchmarks-docs out/benchmarks # this page again
\`\`\`

- **Load.** HTTP comes from [wrk](https://github.com/wg/wrk), gRPC from [ghz](https://ghz.sh) where
  it is installed. A generator of our own is used only where none of them can do it, and is held
  against a server that reads nothing: it has to do three times the rate there.
- **CPU.** User and system time of each process with its children, from \`/proc\`, for one unit of
  work: gateway, broker, workers, load.
- **A ratio of one against nothing** says that the load generator was measured. A ratio above 1.05
  of a no-op fails, as a fault of the bench.
- **Sessions.** Linux schedules each session as one group where \`kernel.sched_autogroup_enabled\` is
  1, its default, and load and system are sessions of their own. With 0 the same pace of mails had
  a p99 of 162 ms where it has 24.9: the load took the processors that answer.
- **Settings** are the default ones: metrics and traces are on. Rows of other settings say so.
- **Exit code.** 1 when a floor is missed or a bench breaks off; the others run all the same.

## From outside

\`bench/outside.sh\` takes the same figures from a running system and uses nothing of it but its URLs:
\`sh\`, \`awk\`, \`curl\`, \`wrk\`, \`ghz\`, and \`/proc\` for the CPU of the processes behind the ports.

\`\`\`sh
npx pnpm dev                                          # in another terminal, or any other gateway
sh bench/outside.sh http://localhost:8080 --picture samples/photo.jpg
sh bench/outside.sh http://localhost:8080 --grpc localhost:50051 --nats-port 4222 --seconds 10
sh bench/outside.sh https://sluice.example.com --key KEY
\`\`\`

What it said on 2026-11-30 of \`pnpm dev\`, with \`--picture samples/photo.jpg\` and \`--grpc\`, on the
machine of the figures below:

| figure | from outside | the bench here |
| --- | ---: | ---: |
| events, one a request | 12,101 /s, 90.8 µs of the gateway | \`http.ingest\` |
| \`GET /v1/jobs/{id}\` | 11,122 /s, 94.4 µs of the gateway | \`http.get_job\` |
| gRPC calls | 6,001 /s, 146 µs of the gateway | \`grpc.ingest\` |
| mails, 500 of 500 ended | 133 /s by curl, 8 at a time | \`scale.mails\`, to its limit |
| pictures, 20 of 20 ended | 35.5 /s | |

## Profiles

\`\`\`sh
npx pnpm flame gateway-events                         # loads it, and draws docs/benchmarks/flame-gateway-events.svg
npx pnpm flame some.cpuprofile some.svg               # draws what node --cpu-prof has written
\`\`\`
`;
