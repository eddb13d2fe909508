// `pnpm dev`: the whole system on embedded parts, until Ctrl-C.
import { openRunFile, parseCommand } from '@sluice/cli';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { endLeftovers } from '../leftovers.ts';
import { createLogView } from '../log-view.ts';
import { WORK_NICENESS } from '../priority.ts';
import { startStack, portsWithOffset, type Stack } from '../stack.ts';
import { DATA, print, runUntilStopped, wholeNumber } from './terminal.ts';

const USAGE = `usage: pnpm dev [options]        the whole system, until Ctrl-C

  --image N         replicas of the image service (default 1)
  --port-offset N   add N to every port (8080, 4222, ...): for a second system, or when a port is taken
  --fresh           clear the data of earlier runs first
  --slow-mail MS    the mail server answers MS milliseconds later: something to find in traces and alerts
  --quiet           no log of the services
  --help            this`;

const { values } = parseCommand({
  name: 'pnpm dev',
  usage: USAGE,
  options: {
    image: { type: 'string', default: '1' },
    'port-offset': { type: 'string', default: '0' },
    fresh: { type: 'boolean', default: false },
    'slow-mail': { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
});

await runUntilStopped('pnpm dev', async (signal, stopWith) => {
  const beganMs = performance.now();
  const imageReplicas = wholeNumber('--image', values.image, 1, 16);
  const portOffset = wholeNumber('--port-offset', values['port-offset'], 0, 15_000);
  const slowMail = values['slow-mail'];
  const mailLatencyMs = slowMail === undefined ? undefined : wholeNumber('--slow-mail', slowMail, 1, 60_000);

  // Two systems side by side share neither ports nor data nor run file.
  const name = portOffset === 0 ? 'dev' : `dev-${portOffset}`;
  const command = portOffset === 0 ? 'pnpm dev' : `pnpm dev --port-offset ${portOffset}`;
  const { file, left } = openRunFile({ command, portOffset });
  stopWith(() => {
    file.remove();
    print(styleText('gray', `Stopped. The data is kept in .data/${name}.`));
  });
  await endLeftovers(left, print);

  let ready = false;
  const view = createLogView(print);
  const stack = await startStack({
    dataDirectory: join(DATA, name),
    fresh: values.fresh,
    ports: portsWithOffset(portOffset),
    imageReplicas,
    workNiceness: WORK_NICENESS,
    interactive: true,
    signal,
    ...(mailLatencyMs === undefined ? {} : { mailLatencyMs }),
    onProgress: (text) => print(styleText('gray', `· ${text}`)),
    onProcesses: (pids, urls) => file.write({ pids, urls, ready }),
    onLine: values.quiet ? () => {} : view,
  });
  stopWith(() => stack.stop());
  ready = true;
  const pids = stack.services.flatMap(({ pid }) => pid ?? []);
  file.write({ urls: stack.urls, ready, pids: [stack.nats.pid, ...pids] });
  print(overview(stack));
  const names = stack.services.map((service) => service.name).join(', ');
  const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
  print(styleText('bold', `Ready after ${seconds} s: ${names}. Ctrl-C stops them.`));
});

function overview({ urls, versions }: Stack): string {
  const rows = [
    ['API, docs', `${urls.gateway}/docs`],
    ['gRPC', `${urls.grpc} (grpcurl -plaintext ${urls.grpc} list)`],
    ['Mail', urls.mail],
    ['Traces, logs, charts', urls.otlp],
    ['NATS', `${urls.nats} (monitor ${urls.natsMonitor}, nats-server ${versions.nats})`],
    ['S3', urls.s3],
  ];
  const lines = rows.map(([name = '', url = '']) => `  ${name.padEnd(22)} ${styleText('cyan', url)}`);
  return `
${lines.join('\n')}

  ${styleText('gray', '# a photo to PDF')}
  curl -s --data-binary @samples/photo.jpg ${urls.gateway}/v1/images
  ${styleText('gray', '# the same, waiting for the end; then fetch the PDF')}
  curl -s -H 'Prefer: wait=10' --data-binary @samples/photo.jpg ${urls.gateway}/v1/images
  curl -sL -o photo.pdf ${urls.gateway}/v1/jobs/JOB/pdf
  ${styleText('gray', '# what happened to a job, live; and its trace')}
  curl -sN ${urls.gateway}/v1/jobs/JOB/stream
  npx pnpm trace JOB
  ${styleText('gray', '# a command over NATS; it finds this system by itself')}
  npx pnpm client create-user --name Grace --email grace@example.com
`;
}
