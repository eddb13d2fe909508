import { Readable } from 'node:stream';
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  EventService,
  JobService,
  JobState,
  Priority,
  UserService,
  WaitingForSchema,
  WaitingReason,
  type ConvertImageRequest,
  type Job,
  type WaitingFor,
} from '@sluice/contracts';
import { laneOf } from '../admission/backpressure.ts';
import { acceptJob, type Acceptance, type NewJob } from '../jobs/accept/accept-job.ts';
import { keyOf } from '../jobs/accept/idempotency.ts';
import { fileNameOf } from '../jobs/accept/labels.ts';
import { imageOptions, newImageJob } from '../jobs/accept/image-request.ts';
import { copiesOf } from '../jobs/kinds/index.ts';
import { lastSaid, ownJob } from '../jobs/own-job.ts';
import { waitingFor, type WaitingDeps } from '../jobs/waiting-for.ts';
import type { EmailContext } from '../jobs/accept/email-request.ts';
import { newJobOfCommand } from '../nats/commands.ts';
import { countItems, recipientCounter, refuseTooMany, type HeaderTarget } from '../accounts/access.ts';
import type { RouteDeps } from '../http/deps.ts';
import { currentProgress, progressOf, type Progress, type WaitingFor as WaitingView } from '../jobs/job-view.ts';
import { invalidField } from '../errors.ts';
import { acceptPictures } from '../uploads/accept-pictures.ts';
import type { FlowStore } from '../lifecycle/flows.ts';
import { storeEvents } from '../lifecycle/ingest.ts';
import type { Caller } from './access.ts';
import { eventsOfCall } from './record-events.ts';

export interface RpcDeps extends Omit<RouteDeps, 'live' | 'streams' | 'closing'>, WaitingDeps {
  readonly flows: FlowStore;
}

/** A method of a service, for each of the protocols that calls come by. */
export interface UnaryMethod {
  readonly desc: DescMethodUnary;
  readonly answer: (request: Message, caller: Caller) => Promise<Record<string, unknown>>;
}

const method = <I extends DescMessage, O extends DescMessage>(
  desc: DescMethodUnary<I, O>,
  answer: (request: MessageShape<I>, caller: Caller) => Promise<MessageInitShape<O>>,
): UnaryMethod => ({ desc, answer: answer as unknown as UnaryMethod['answer'] });

/** The methods of the services of `protos/`, each by the functions that its HTTP route uses. */
export function unaryMethods(deps: RpcDeps): readonly UnaryMethod[] {
  const { access, accept, bus, flows, keys, now } = deps;

  async function mail(makeJob: (context: EmailContext) => NewJob, key: string, { account, trace, headers }: Caller) {
    const known = keyFrom(key);
    const asked = makeJob({ account: account.id, trace, scopes: account.scopes });
    await countItems(access, account, headers, 1 + copiesOf(asked.work).length, 'mails');
    const counted = { ...accept, countRecipient: recipientCounter(access, headers) };
    return answer(await keys.hold(account.id, known, () => acceptJob(counted, asked, known)));
  }

  return [
    method(UserService.method.createUser, (request, caller) =>
      mail((about) => newJobOfCommand(request, about, deps.limits), request.idempotencyKey, caller),
    ),
    method(UserService.method.sendEmail, (request, caller) =>
      mail((about) => newJobOfCommand(request, about, deps.limits), request.idempotencyKey, caller),
    ),
    method(UserService.method.convertImage, async (request, { account, trace, headers }) => {
      const key = keyFrom(request.idempotencyKey);
      const take = () => takeImages(deps, request, key, { account: account.id, trace }, headers);
      return answer(await keys.hold(account.id, key, take));
    }),
    method(JobService.method.getJob, async ({ id }, { account }) => {
      const { job } = await ownJob(deps, account.id, id);
      const said = await lastSaid(bus, job);
      const waiting = await waitingFor(deps, job, said);
      return {
        job: jobAnswer(job, said === undefined ? undefined : progressOf(said.data, said.storedAt.getTime())),
        ...(waiting === undefined ? {} : { waitingFor: waitingAnswer(waiting) }),
      };
    }),
    method(EventService.method.recordEvents, async (request, { account, headers, requestHeader }) => {
      deps.backpressure.checkRoom('EVENTS');
      refuseTooMany(access, request.events.length, 'events');
      const events = eventsOfCall(request.events, now());
      const key = keyOf(requestHeader('idempotency-key'));
      // The first was counted before the body was read.
      if (events.length > 1) await countItems(access, account, headers, events.length, 'events');
      const claimed = flows.claim(
        events.map(({ appId }) => appId),
        account.id,
      );
      if (claimed !== undefined) await claimed;
      await storeEvents(bus, events, { account: account.id, key });
      return { accepted: events.length };
    }),
  ];
}

type Context = Pick<NewJob, 'account' | 'trace'>;

const keyFrom = (key: string): string | undefined => (key === '' ? undefined : keyOf(key));

const answer = ({ job }: Acceptance): { job: Job } => ({ job: jobAnswer(job) });

/** Takes in the pictures of a call like those of an upload: what is large goes to the store. */
function takeImages(
  deps: RpcDeps,
  { sources, options, priority, callbackUrl, notify, metadata }: ConvertImageRequest,
  key: string | undefined,
  context: Context,
  headers: HeaderTarget,
): Promise<Acceptance> {
  if (sources.length === 0) throw invalidField('/sources', 'is empty');
  deps.backpressure.check(laneOf('image', priority === Priority.EXPRESS));
  const accept = { ...deps.accept, countRecipient: recipientCounter(deps.access, headers) };
  return acceptPictures({ ...deps, accept }, { account: context.account, key }, async (intake) => {
    for (const [index, { from, fileName }] of sources.entries()) {
      // A key says nothing of whose object it is. Who uploads directly names the upload: POST /v1/images:fromUpload.
      if (from.case !== 'content') throw invalidField(`/sources/${index}`, 'must carry the bytes of an image');
      await intake.take(Readable.from(piecesOf(from.value)), fileNameOf(fileName));
    }
    const asked = { sources: intake.sources(), options: imageOptions(options ?? {}), priority, callbackUrl, notify };
    return newImageJob({ ...asked, metadata }, context);
  });
}

/** As much as a socket reads at once. */
const PIECE_BYTES = 64 * 1024;

/** A picture as it would arrive: hashed and copied as a whole, one of 50 MiB holds every other request up for 200 ms. */
function* piecesOf({ buffer, byteOffset, length }: Uint8Array): Generator<Buffer> {
  for (let at = 0; at < length; at += PIECE_BYTES) {
    yield Buffer.from(buffer as ArrayBuffer, byteOffset + at, Math.min(PIECE_BYTES, length - at));
  }
}

/**
 * The job as its owner sees it: what was asked for is not sent back, nor what only the system needs. The progress of
 * its worker is merged into one that has not ended, as over HTTP.
 */
function jobAnswer(job: Job, progress?: Progress): Job {
  const { request: _, ...rest } = job;
  const shown: Job = { ...rest, requestHash: '' };
  const current = currentProgress(job, progress);
  if (current === undefined) return shown;
  shown.state = current.state === 'running' ? JobState.RUNNING : JobState.QUEUED;
  shown.attempt = Math.max(job.attempt, current.attempt);
  shown.updatedAt = timestampFromMs(
    Math.max(current.atMs, job.updatedAt === undefined ? 0 : timestampMs(job.updatedAt)),
  );
  return shown;
}

const waitingReasons: Readonly<Record<WaitingView['reason'], WaitingReason>> = {
  dispatch: WaitingReason.DISPATCH,
  queue_full: WaitingReason.QUEUE_FULL,
  paused: WaitingReason.PAUSED,
  no_worker: WaitingReason.NO_WORKER,
  queue: WaitingReason.QUEUE,
  worker: WaitingReason.WORKER,
  retry: WaitingReason.RETRY,
  provider: WaitingReason.PROVIDER,
};

/** What HTTP shows as `waitingFor`. */
const waitingAnswer = ({ reason, detail, since, until, ahead }: WaitingView): WaitingFor =>
  create(WaitingForSchema, {
    reason: waitingReasons[reason],
    detail,
    ...(since === undefined ? {} : { since: timestampFromMs(Date.parse(since)) }),
    ...(until === undefined ? {} : { until: timestampFromMs(Date.parse(until)) }),
    ...(ahead === undefined ? {} : { ahead }),
  });
