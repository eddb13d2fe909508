// `pnpm smoke [URL] [--images N]`: asks a running system, however it was started, whether it does its work: by default
// the one of `docker compose up` behind its proxy. Prints what it saw; exit code 1 when something is not as it must be.
import { parseCommand } from '@sluice/cli';
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gatewayClient, until } from './e2e/gateway-client.ts';

const { values, positionals } = parseCommand({
  name: 'pnpm smoke',
  usage: `usage: pnpm smoke [URL] [--images N]   asks a running system whether it does its work

  URL          of the gateway or its reverse proxy (default http://localhost:8080)
  --images N   convert so many, and print the share of each replica (default 1)`,
  options: { images: { type: 'string', default: '1' } },
  maxPositionals: 1,
});
const url = (positionals[0] ?? 'http://localhost:8080').replace(/\/$/, '');
const wanted = Number(values.images);
const api = gatewayClient(url);
const photo = await readFile(join(import.meta.dirname, '../samples/photo.jpg'));
/** Enough to keep several replicas busy without a queue at the gateway. */
const AT_ONCE = 8;

async function convertImages(): Promise<string> {
  const instances = new Map<string, number>();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next++ < wanted) {
      const job = await api.ended((await api.accept('/v1/images', photo)).id);
      if (job.state !== 'succeeded') throw new Error(`job ${job.id} ${job.state}: ${job.error?.code ?? ''}`);
      const events = await api.events(job.id);
      const instance =
        events.find(({ app, instance }) => app === 'image' && instance !== undefined)?.instance ?? 'image';
      instances.set(instance, (instances.get(instance) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const shares = [...instances].map(([instance, count]) => `${instance} ${Math.round((100 * count) / wanted)} %`);
  return `${wanted} succeeded: ${shares.toSorted().join(', ')}`;
}

async function fetchPdf(): Promise<string> {
  const job = await api.ended((await api.accept('/v1/images', photo)).id);
  const answer = await api.pdf(job.id);
  const pdf = Buffer.from(await answer.arrayBuffer());
  const sha256 = createHash('sha256').update(pdf).digest('hex');
  if (sha256 !== job.result?.sha256)
    throw new Error(`the PDF has SHA-256 ${sha256}, the job says ${job.result?.sha256}`);
  return `${pdf.length} bytes from ${new URL(answer.url).origin}, as the job says`;
}

async function sendMail(): Promise<string> {
  const to = `smoke-${randomUUID().slice(0, 8)}@example.com`;
  const order = JSON.stringify({ template: 'welcome', to, variables: { name: 'Ada' } });
  const job = await api.ended((await api.accept('/v1/emails', order, { 'content-type': 'application/json' })).id);
  if (job.state !== 'succeeded') throw new Error(`job ${job.id} ${job.state}: ${job.error?.code ?? ''}`);
  let subject = '';
  await until('the mail is there', async () => {
    const answer = await fetch(`${url}/mail/api/v1/search?query=${encodeURIComponent(`to:${to}`)}`);
    const { messages } = (await answer.json()) as { messages: { Subject: string }[] };
    subject = messages[0]?.Subject ?? '';
    return messages.length === 1;
  });
  return `"${subject}" is in the mailbox`;
}

async function problem(): Promise<string> {
  const answer = await api.post('/v1/images', 'not an image', { 'content-type': 'text/plain' });
  const type = answer.headers.get('content-type') ?? '';
  if (answer.status !== 415 || !type.startsWith('application/problem+json'))
    throw new Error(`HTTP ${answer.status} ${type}`);
  return 'a text file is refused with 415 and problem+json';
}

const checks: readonly [name: string, check: () => Promise<string>][] = [
  ['images', convertImages],
  ['pdf', fetchPdf],
  ['mail', sendMail],
  ['problem', problem],
];
let failed = 0;
console.log(`${url}\n`);
for (const [name, check] of checks) {
  try {
    console.log(`  ${name.padEnd(10)} ${await check()}`);
  } catch (error) {
    failed++;
    console.log(`  ${name.padEnd(10)} FAILED ${error instanceof Error ? error.message : String(error)}`);
  }
}
// Shown, not judged: a system may run without them.
for (const path of ['/mail/', '/grafana/', '/jaeger/', '/prometheus/', '/nats/']) {
  const answer = await fetch(`${url}${path}`).catch(() => undefined);
  console.log(
    `  ${path.padEnd(13)}${answer?.ok === true ? 'answers' : `not running (HTTP ${answer?.status ?? 'none'})`}`,
  );
}
console.log(`\n${checks.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
