import { RequestError } from '../errors.ts';
import type { ConfigProblem } from '../errors.ts';
import { call, streamInfo, streamsOf } from '../nats/jetstream-api.ts';
import type { StreamInfo } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import { scheduleSubject } from './schedule.ts';

const TIMEOUT_MS = 5000;
const PATH = 'delayed.subject';

/**
 * What would lose messages that are to be published later. A server before 2.12 stores a schedule like any message and
 * never publishes it, so this is looked at before the first.
 */
export async function checkDelayedStream(port: NatsPort, prefix: string): Promise<readonly ConfigProblem[]> {
  const [stream] = await streamsOf(port, scheduleSubject(prefix, ''), TIMEOUT_MS);
  if (stream === undefined) {
    return [{ path: PATH, message: `no stream stores ${prefix}.>; make one with \`ensureDelayedStream\`` }];
  }
  return problemsOf(await streamInfo(port, stream));
}

function problemsOf({ config }: StreamInfo): readonly ConfigProblem[] {
  const say = (message: string): ConfigProblem => ({ path: PATH, message: `stream ${config.name}: ${message}` });
  if (config.allow_msg_schedules !== true)
    return [say('allow_msg_schedules is off (it needs nats-server 2.12); nothing would ever be published')];
  const limits = (['max_age', 'max_msgs', 'max_bytes', 'max_msgs_per_subject'] as const).filter(
    (name) => (config[name] ?? 0) > 0 && !(name === 'max_msgs_per_subject' && config[name] === 1),
  );
  return limits.length === 0
    ? []
    : [say(`${limits.join(', ')} would remove messages before they are due; set no limit`)];
}

/**
 * Makes the stream in which delayed messages wait, if no stream stores them, and refuses one that would lose some. It is
 * a work queue: a message leaves it when it was published where it belongs.
 */
export async function ensureDelayedStream(
  port: NatsPort,
  options: { readonly stream: string; readonly subject?: string; readonly replicas?: number },
): Promise<{ readonly created: boolean }> {
  const { stream, subject = 'delayed', replicas = 1 } = options;
  const found = await streamsOf(port, scheduleSubject(subject, ''), TIMEOUT_MS);
  if (found.length === 0) {
    await call(port, `STREAM.CREATE.${stream}`, {
      name: stream,
      subjects: [`${subject}.at.*`, `${subject}.due.>`],
      retention: 'workqueue',
      storage: 'file',
      // The only policy that schedules are allowed with; without limits nothing is discarded.
      discard: 'old',
      allow_msg_schedules: true,
      allow_rollup_hdrs: true,
      num_replicas: replicas,
    });
  }
  const problems = await checkDelayedStream(port, subject);
  if (problems[0] !== undefined) throw new RequestError('API', problems[0].message);
  return { created: found.length === 0 };
}
