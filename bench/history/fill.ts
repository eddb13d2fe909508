import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobEventSchema, JobKind, JobState } from '@sluice/contracts';
import { newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import { openReadModel } from '../../services/gateway/src/history/open-read-model.ts';
import { pack, type StoredMessage } from '../../services/gateway/src/history/packed-messages.ts';

const BATCH = 1_000;
const HOUR_MS = 3_600_000;

/** Filters with a value that the history below has: one for each, and two together. */
export const filters: Readonly<Record<string, string>> = {
  none: '',
  state: 'state=cancelled',
  kind: 'kind=image',
  recipient: 'recipient=person-77@example.com',
  error: 'error=smtp_rejected',
  file_name: 'fileName=scan-500.png',
  metadata: 'metadata=order:1234',
  since_until: `since=2026-11-10T00:00:00Z&until=2026-11-11T00:00:00Z`,
  state_and_kind: 'state=failed&kind=image',
  metadata_and_state: 'metadata=tier:gold&state=cancelled',
};

/**
 * Writes a history of jobs that ended over four weeks, by the code that projects the streams. Returns jobs a second.
 *
 * @param firstMs when the first one ended; the filters above know the default.
 */
export async function fill(url: string, jobs: number, firstMs = Date.UTC(2026, 10, 1)): Promise<number> {
  const model = await openReadModel(url, silentLogger as never);
  const beganMs = performance.now();
  let { after } = await model.follow('JOBS', { created: 'filled', lastSequence: jobs });
  const stepMs = (27 * 24 * HOUR_MS) / jobs;
  for (let from = 0; from < jobs; from += BATCH) {
    const messages = Array.from({ length: Math.min(BATCH, jobs - from) }, (_, i) =>
      endedJob(from + i, Math.round(firstMs + (from + i) * stepMs)),
    );
    await model.apply({ stream: 'JOBS', after, messages: pack(messages) });
    after = from + messages.length;
  }
  await model.close();
  return jobs / ((performance.now() - beganMs) / 1000);
}

function endedJob(n: number, storedMs: number): StoredMessage {
  const at = timestampFromMs(storedMs);
  const isImage = n % 2 === 0;
  const state = n % 33 === 0 ? JobState.CANCELLED : n % 17 === 0 ? JobState.FAILED : JobState.SUCCEEDED;
  const job = {
    id: newJobId(),
    account: 'local',
    kind: isImage ? JobKind.IMAGE : JobKind.EMAIL,
    state,
    createdAt: at,
    updatedAt: at,
    traceId: '0123456789abcdef0123456789abcdef',
    metadata: { order: `${n}`, tier: n % 10 === 0 ? 'gold' : 'free' },
    ...(isImage ? { fileNames: [`scan-${n % 100_000}.png`] } : { notify: `person-${n % 200_000}@example.com` }),
  };
  const error = { code: n % 2 === 0 ? 'corrupt_image' : 'smtp_rejected', detail: 'It was refused.' };
  const event = create(JobEventSchema, {
    job: { ...job, ...(state === JobState.FAILED ? { error } : {}) } as never,
    at,
  });
  return { sequence: n + 1, storedMs, data: toBinary(JobEventSchema, event) };
}
