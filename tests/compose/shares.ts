import { first, imageRequest, type JobRequest } from '../faults/requests.ts';
import { load } from '../faults/load.ts';
import type { ComposedClient } from './client.ts';

/** Enough to keep several replicas busy. */
const AT_ONCE = 8;

/** Converts so many images, and prints how they were shared by the replicas. Returns what went wrong. */
export async function shares(
  client: ComposedClient,
  image: Buffer,
  count: number,
  replicas: number,
): Promise<readonly string[]> {
  const startedMs = performance.now();
  const { headers } = client;
  const images = (function* (): Generator<JobRequest, void> {
    for (;;) yield imageRequest(image, { headers });
  })();
  const { accepted, unexpected } = await load(client.url, first(count, images), { atOnce: AT_ONCE });
  const missing = await client.missing(accepted);
  const took = ((performance.now() - startedMs) / 1000).toFixed(1);
  const byReplica = new Map<string, number>();
  for (const { jobId } of accepted) {
    const path = `/v1/jobs/${jobId}/events`;
    const { events } = await client.json<{ events: readonly { app: string; instance?: string }[] }>(path);
    const name = events.find(({ app, instance }) => app === 'image' && instance !== undefined)?.instance ?? 'unknown';
    byReplica.set(name, (byReplica.get(name) ?? 0) + 1);
  }
  console.log(`\n${accepted.length} images in ${took} s, ${missing.length} not done\n`);
  console.log('| replica | images | share |\n| --- | ---: | ---: |');
  for (const [name, done] of byReplica)
    console.log(`| ${name} | ${done} | ${Math.round((100 * done) / accepted.length)} % |`);
  return [
    ...missing,
    ...Object.keys(unexpected).map((status) => `images: HTTP ${status}`),
    ...(byReplica.has('unknown') ? ['an image was converted by a replica that its events do not name'] : []),
    ...(byReplica.size === replicas ? [] : [`${byReplica.size} of ${replicas} replicas converted images`]),
  ];
}
