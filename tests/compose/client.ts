import { setTimeout as sleep } from 'node:timers/promises';
import { rootCertificates, setDefaultCACertificates } from 'node:tls';
import type { Accepted } from '../faults/load.ts';
import type { ComposedSystem } from './engine.ts';

const ENDED = new Set(['succeeded', 'failed', 'cancelled']);
/** Against hanging alone. */
const END_MS = 900_000;
/** Whose key it is, another account in each run since one has two keys at most, and what it may spend. */
const ACCOUNT = `compose-${Date.now().toString(36)}`;
const CREDITS = 1_000_000;
/** Jobs asked for at once. */
const ASKED_AT_ONCE = 8;

/** The system as a client behind its proxy sees it. */
export interface ComposedClient {
  readonly url: string;
  /** The API key; undefined where none is asked for. */
  readonly key: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The answer; undefined when none came, as from a gateway that is just started again. */
  get(path: string): Promise<Response | undefined>;
  json<T>(path: string): Promise<T>;
  /**
   * What is missing of these jobs: those that have not succeeded when their time is over, PDFs that are not served, and
   * mails that are not in the mail catcher, where there is one.
   */
  missing(accepted: readonly Accepted[]): Promise<readonly string[]>;
}

/**
 * A client of the system at `url`. Where its proxy signs its own certificate, that authority is trusted from here on; where
 * a key is asked for and none is given, the operator makes one, for an account that can pay.
 */
export async function composedClient(system: ComposedSystem, url: string, key?: string): Promise<ComposedClient> {
  if (new URL(url).protocol === 'https:') trust(system);
  const asked = await fetch(`${url}/v1/jobs`, key === undefined ? {} : { headers: bearer(key) });
  const needed = asked.status === 401 ? operatorsKey(system) : key;
  const headers = needed === undefined ? {} : bearer(needed);
  const get = (path: string): Promise<Response | undefined> =>
    fetch(`${url}${path}`, { headers, signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
  // Where mails go to a provider there is no catcher, and the gateway answers that it has no such page.
  const catcher = (await get('/mail/api/v1/info'))?.ok === true;

  const missingOf = async ({ jobId, kind, to }: Accepted): Promise<string | undefined> => {
    const answer = await get(`/v1/jobs/${jobId}`);
    if (answer?.ok !== true) return `${jobId}: HTTP ${answer?.status ?? 'no answer'}`;
    const { state } = (await answer.json()) as { state: string };
    if (state !== 'succeeded') return `${jobId} ${state}`;
    if (kind === 'image') {
      const pdf = await get(`/v1/jobs/${jobId}/pdf`);
      const start =
        pdf?.ok === true
          ? Buffer.from(await pdf.arrayBuffer())
              .subarray(0, 5)
              .toString()
          : '';
      return start === '%PDF-' ? undefined : `${jobId}: no PDF, HTTP ${pdf?.status ?? 'no answer'}`;
    }
    if (!catcher || to === undefined) return undefined;
    const found = await get(`/mail/api/v1/search?query=${encodeURIComponent(`to:${to}`)}`);
    const { messages = [] } = found?.ok === true ? ((await found.json()) as { messages?: [] }) : {};
    return messages.length > 0 ? undefined : `${jobId}: no mail to ${to}`;
  };

  return {
    url,
    key: needed,
    headers,
    get,
    async json<T>(path: string) {
      const answer = await fetch(`${url}${path}`, { headers });
      if (!answer.ok) throw new Error(`GET ${path}: HTTP ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as T;
    },
    async missing(accepted) {
      const open = new Map<Accepted, string>(accepted.map((job) => [job, 'not asked for']));
      for (const deadline = performance.now() + END_MS; open.size > 0; await sleep(250)) {
        const left = [...open].filter(([, state]) => !ENDED.has(state.split(' ')[1] ?? '')).map(([job]) => job);
        if (left.length === 0 || performance.now() > deadline) break;
        const next = left[Symbol.iterator]();
        const ask = async (): Promise<void> => {
          for (const job of next) {
            const found = await missingOf(job);
            if (found === undefined) open.delete(job);
            else open.set(job, found);
          }
        };
        await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
      }
      return [...open.values()];
    },
  };
}

const bearer = (key: string): Readonly<Record<string, string>> => ({ authorization: `Bearer ${key}` });

/** Caddy makes an authority of its own for names that no public one signs, such as localhost. */
function trust(system: ComposedSystem): void {
  const own = system.read('exec', '-T', 'caddy', 'cat', '/data/caddy/pki/authorities/local/root.crt');
  setDefaultCACertificates([...rootCertificates, own]);
}

function operatorsKey(system: ComposedSystem): string {
  const operator = (...command: readonly string[]): string =>
    system.read('run', '--rm', '-T', 'operator', ...command.with(0, `src/cli/${command[0]}.ts`));
  // Where jobs have a price.
  operator('credits', 'grant', ACCOUNT, String(CREDITS));
  const shown = operator('keys', 'create', ACCOUNT);
  const key = shown.split('\n').find((line) => line.startsWith('sk_'));
  if (key === undefined) throw new Error(`the operator made no key: ${shown}`);
  return key.trim();
}
