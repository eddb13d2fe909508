import { jetstream, type JetStreamManager } from '@nats-io/jetstream';
import { headers, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { apiErrorCode, JS_ERROR } from '../nats/api-error.ts';
import type { StreamSpec } from './specs.ts';

/**
 * Moves what a work queue still holds under subjects that belong to another one by now, and deletes its consumers of them
 * that no replica asks any more. A message is stored in the new stream before it is deleted in the old one: a crash
 * between the two moves it again, which its message id folds within the duplicate window and its handler after that.
 *
 * @returns how many messages were moved.
 */
export async function takeOver(
  nc: NatsConnection,
  jsm: JetStreamManager,
  from: string,
  { subjects }: Pick<StreamSpec, 'subjects'>,
): Promise<number> {
  const js = jetstream(nc);
  let moved = 0;
  for (const subject of subjects) {
    for (;;) {
      const oldest = { seq: 1, next_by_subj: subject };
      const found = await jsm.streams.getMessage(from, oldest).catch(unlessAbsent);
      if (found === undefined || found === null) break;
      await js.publish(found.subject, found.data, { headers: carried(found.header) });
      await jsm.streams.deleteMessage(from, found.seq, false).catch(async (error: unknown) => {
        const isThere = await jsm.streams.getMessage(from, { seq: found.seq }).catch(unlessAbsent);
        if (isThere !== undefined && isThere !== null) throw error;
      });
      moved += 1;
    }
  }
  for await (const { name, config, num_waiting } of jsm.consumers.list(from)) {
    const filters = config.filter_subjects ?? [config.filter_subject ?? ''];
    const isIdle = num_waiting === 0 && filters.every((filter) => subjects.includes(filter));
    if (isIdle) await jsm.consumers.delete(from, name).catch(unlessAbsent);
  }
  return moved;
}

/** Another gateway may be at it. */
function unlessAbsent(error: unknown): undefined {
  const code = apiErrorCode(error);
  const status = (error as { status?: unknown }).status;
  const absent: readonly unknown[] = [JS_ERROR.streamNotFound, JS_ERROR.consumerNotFound, JS_ERROR.noMessageFound];
  if (absent.includes(code) || status === 404) return undefined;
  throw error;
}

/** The headers of a message without what was a condition of its first publish. */
function carried(found: MsgHdrs | undefined): MsgHdrs {
  const kept = headers();
  for (const name of found?.keys() ?? []) {
    if (/^nats-expected-/i.test(name)) continue;
    for (const value of found?.values(name) ?? []) kept.append(name, value);
  }
  return kept;
}
