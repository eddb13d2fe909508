import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { mailCopies, MailReportSchema } from '@sluice/contracts';
import { isTerminal, report as noteReport, type JobLog } from '@sluice/jobs';
import { readBounceToken, type Suppressions } from '@sluice/suppression';
import { GatewayError } from '../errors.ts';
import { readReport } from './read-report.ts';

export interface BounceDeps {
  readonly jobs: JobLog;
  readonly suppressions: Suppressions;
  readonly now: () => number;
  /** Signs the addresses that mails are returned to. */
  readonly secret: string;
}

/** `ignored`: no report, or about no mail of ours. */
export type Taken = 'bounce' | 'complaint' | 'ignored';

/** Larger ones carry the whole of a mail back; what counts stands at the beginning. */
export const MAX_REPORT_BYTES = 1024 * 1024;

/**
 * Takes a mail that came to the bounce address. It counts only with the signature of a mail of ours, which the server
 * and the reader of that mail know alone: what anyone else makes up changes nothing. The address is the one that the job
 * was sent to, not one that the report names.
 *
 * @param envelopeTo the address it was sent to, if that is known. Otherwise the signature is looked for in the mail:
 * in `To`, in `Delivered-To`, or in the header of the mail that it brings back.
 * @throws {GatewayError} `job_not_finished` when it came before the result of its job: the same report counts later.
 */
export async function takeReport(deps: BounceDeps, raw: Uint8Array, envelopeTo?: string): Promise<Taken> {
  const token = readBounceToken(envelopeTo ?? Buffer.from(raw).toString('latin1'), deps.secret);
  if (token === undefined) return 'ignored';
  const { jobId, copy } = token;
  const found = await readReport(raw);
  const record = found === undefined ? undefined : await deps.jobs.read(jobId, 'leader');
  const work = record?.job.request?.work;
  if (found === undefined || record === undefined || work?.case !== 'email') return 'ignored';
  if (!isTerminal(record.job.state)) {
    const detail = 'The mail of this report is not recorded as sent yet. Send the report again.';
    throw new GatewayError('job_not_finished', detail, { jobId, retryAfterSeconds: 60 });
  }
  const recipient = copy === 0 ? { place: '', address: work.value.to } : mailCopies(work.value)[copy - 1];
  if (recipient === undefined) return 'ignored';
  const said = create(MailReportSchema, {
    kind: found.kind,
    status: found.kind === 'bounce' ? found.status : '',
    detail: found.detail,
    at: timestampFromMs(deps.now()),
    recipient: recipient.place,
  });
  // A server may send a report twice. In words alone it counts once per mail: the second time would suppress.
  if (noteReport(record.job, said) === undefined) return 'ignored';
  const { address } = recipient;
  if (found.kind === 'complaint') await deps.suppressions.add(address, 'complaint');
  else if (found.deadMailbox !== undefined) await deps.suppressions.bounced(address, found.deadMailbox);
  await deps.jobs.transition(jobId, (job) => noteReport(job, said));
  return found.kind;
}
