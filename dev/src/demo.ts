import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { styleText } from 'node:util';
import { printTrace } from './otlp/print-trace.ts';
import { startStack, type Stack, type StackOptions } from './stack.ts';
import { followJob, timelineLine, type TimelineEntry } from './timeline.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const OUT = join(REPOSITORY, 'out');
const PHOTO = join(REPOSITORY, 'samples/photo.jpg');
const PERSON = { name: 'Ada Lovelace', email: 'ada@example.com' };

/** Something the demo looked at is not as it should be. */
export class DemoError extends Error {
  override readonly name = 'DemoError';
  readonly code = 'demo_failed';
}

interface JobAnswer {
  readonly id: string;
  readonly state: string;
  readonly createdAt: string;
  readonly traceId: string;
  readonly result?: {
    readonly sha256?: string;
    readonly pages?: number;
    readonly width?: number;
    readonly height?: number;
  };
  readonly error?: { readonly code: string; readonly detail: string };
}

export interface DemoOptions {
  readonly print: (line: string) => void;
  /** Every line of every service. */
  readonly onLine: (source: string, line: string) => void;
  readonly onProcesses: NonNullable<StackOptions['onProcesses']>;
  /** Ends a start that still waits. */
  readonly signal: AbortSignal;
}

/**
 * Starts the whole system on free ports and empty data, sends one mail and converts one photo through the gateway,
 * shows both timelines live and the trace, keeps the PDF and the mail in `out/`, checks them, and stops.
 *
 * @throws {DemoError} when a job did not succeed, or the PDF or the mail is not what was asked for.
 */
export async function demo({ print, onLine, onProcesses, signal }: DemoOptions): Promise<void> {
  const beganMs = performance.now();
  print(styleText('bold', '\nStarting nats-server, S3, SMTP and the four services'));
  const stack = await startStack({
    interactive: true,
    dataDirectory: join(REPOSITORY, '.data/demo'),
    fresh: true,
    signal,
    onLine,
    onProcesses,
    onProgress: (text) => print(styleText('gray', `  ${text}`)),
  });
  try {
    await run(stack, print, signal);
  } finally {
    print(styleText('gray', '\nStopping'));
    await stack.stop();
  }
  print(
    styleText('green', `Done in ${((performance.now() - beganMs) / 1000).toFixed(1)} s.`) +
      ' `npx pnpm dev` keeps it running.',
  );
}

async function run(stack: Stack, print: (line: string) => void, signal: AbortSignal): Promise<void> {
  const { gateway } = stack.urls;
  const photo = await readFile(PHOTO);
  print(styleText('bold', '\nOne user to welcome, one photo to convert'));
  const mailJob = await accepted(`${gateway}/v1/users`, JSON.stringify(PERSON), 'application/json');
  const imageJob = await accepted(`${gateway}/v1/images`, photo, 'image/jpeg');
  print(`  mail   ${mailJob.id}`);
  print(`  image  ${imageJob.id}  ${relative(REPOSITORY, PHOTO)}, ${(photo.length / 1024).toFixed(0)} KiB`);

  print(styleText('bold', '\nTimeline'));
  const startedAt = new Date(Math.min(...[mailJob, imageJob].map((job) => new Date(job.createdAt).getTime())));
  const show = (label: string) => (entry: TimelineEntry) => print(timelineLine(label, entry, startedAt));
  await Promise.all([
    followJob(gateway, mailJob.id, show(styleText('magenta', 'mail ')), signal),
    followJob(gateway, imageJob.id, show(styleText('cyan', 'image')), signal),
  ]);
  const image = await succeeded(gateway, imageJob.id);
  await succeeded(gateway, mailJob.id);

  // Without its URL: the page goes away with this stack.
  print(`\n${await printTrace(image.id, { receiverUrl: stack.urls.otlp, gatewayUrl: gateway, link: false })}`);

  await mkdir(OUT, { recursive: true });
  const pdf = await savePdf(gateway, image);
  const mail = await saveMail(stack);
  print(styleText('bold', '\nResult'));
  print(`  ${pdf}`);
  print(`  ${mail}`);
}

async function accepted(url: string, body: string | Buffer, contentType: string): Promise<JobAnswer> {
  const payload = typeof body === 'string' ? body : new Uint8Array(body);
  const answer = await fetch(url, { method: 'POST', body: payload, headers: { 'content-type': contentType } });
  if (answer.status !== 202) throw new DemoError(`POST ${url}: HTTP ${answer.status}\n${await answer.text()}`);
  return (await answer.json()) as JobAnswer;
}

async function succeeded(gateway: string, jobId: string): Promise<JobAnswer> {
  const job = (await (await fetch(`${gateway}/v1/jobs/${jobId}`)).json()) as JobAnswer;
  if (job.state !== 'succeeded') {
    throw new DemoError(`job ${jobId} is ${job.state}: ${job.error?.code ?? ''} ${job.error?.detail ?? ''}`);
  }
  return job;
}

async function savePdf(gateway: string, job: JobAnswer): Promise<string> {
  const answer = await fetch(`${gateway}/v1/jobs/${job.id}/pdf`);
  if (!answer.ok) throw new DemoError(`the PDF of ${job.id}: HTTP ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (!bytes.subarray(0, 5).equals(Buffer.from('%PDF-')) || !bytes.subarray(-32).includes('%%EOF')) {
    throw new DemoError(`the object of ${job.id} is no whole PDF`);
  }
  if (sha256 !== job.result?.sha256)
    throw new DemoError(`the PDF's SHA-256 is ${sha256}, the job says ${job.result?.sha256}`);
  const path = join(OUT, 'photo.pdf');
  await writeFile(path, bytes);
  const { pages = 0, width = 0, height = 0 } = job.result;
  return `${relative(REPOSITORY, path)}  ${pages} page, ${width} x ${height} px, ${(bytes.length / 1024).toFixed(0)} KiB, SHA-256 as the job says`;
}

async function saveMail(stack: Stack): Promise<string> {
  const list = await fetch(`${stack.urls.mail}/api/v1/search?query=${encodeURIComponent(`to:${PERSON.email}`)}`);
  const { messages } = (await list.json()) as {
    messages: readonly { readonly ID: string; readonly Subject: string }[];
  };
  const [mail, ...more] = messages;
  if (mail === undefined || more.length > 0)
    throw new DemoError(`${messages.length} mails to ${PERSON.email}, wanted one`);
  const html = await (await fetch(`${stack.urls.mail}/view/${mail.ID}.html`)).text();
  if (!html.includes(PERSON.name)) throw new DemoError(`the mail does not greet ${PERSON.name}`);
  const path = join(OUT, 'welcome.html');
  await writeFile(path, html);
  return `${relative(REPOSITORY, path)}  “${mail.Subject}”, to the one address asked for`;
}
