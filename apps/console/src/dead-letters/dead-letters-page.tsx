import { dataOf, type components } from '@sluice/client';
import { useMemo, useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { placeUrl, replaceQuery, type Place } from '../router.ts';
import { Code } from '../ui/code.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { agoText, bytesText, countText, dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

type DeadLetter = components['schemas']['DeadLetter'];

interface Group {
  readonly stream: string;
  readonly consumer: string;
  readonly reason: string;
  /** Its code, or its name where it has none; empty for no error. */
  readonly error: string;
  readonly errorName: string;
  readonly letters: DeadLetter[];
}

type Verb = 'redrive' | 'purge';

/** What is asked before it is done: some letters by their ids, or all that a filter finds. */
interface Question {
  readonly verb: Verb;
  readonly ids?: readonly string[];
  readonly filter?: Filter;
  readonly count: number;
  /** Of one filter, found by a dry run, how many may be more than was looked through. */
  readonly more: boolean;
}
type Filter = Readonly<{ stream: string; consumer: string; reason: string; error?: string }>;

const PAGES = 5;
const reasons: Readonly<Record<string, string>> = {
  exhausted: 'failed on every attempt',
  permanent: 'failed in a way no repeat fixes',
  rejected: 'was refused',
  decode: 'could not be read',
  crashLoop: 'ended its process again and again',
  stranded: 'was no longer delivered',
};

async function readLetters(filter: Partial<Filter>): Promise<{ letters: DeadLetter[]; more: boolean }> {
  const letters: DeadLetter[] = [];
  let cursor: number | undefined;
  for (let page = 0; page < PAGES; page += 1) {
    const params = { query: { ...filter, limit: 200, ...(cursor === undefined ? {} : { cursor }) } };
    const answer = await dataOf(sluiceOnce.api.GET('/v1/dead-letters', { params }));
    letters.push(...answer.deadLetters);
    cursor = answer.next;
    if (cursor === undefined) break;
  }
  return { letters, more: cursor !== undefined };
}

function groupsOf(letters: readonly DeadLetter[]): readonly Group[] {
  const groups = new Map<string, Group>();
  for (const letter of letters) {
    const { stream, consumer, reason } = letter;
    const { name: errorName = '', code = '' } = letter.error ?? {};
    const error = code === '' ? errorName : code;
    const key = [stream, consumer, reason, error].join('\0');
    const group = groups.get(key) ?? { stream, consumer, reason, error, errorName, letters: [] };
    group.letters.push(letter);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => b.letters.length - a.letters.length);
}

/** Work that was given up: by what it failed of, to be sent on its way again or removed. */
export function DeadLettersPage({ place }: { readonly place: Place }) {
  const consumer = place.query.get('consumer') ?? undefined;
  const found = useLive(consumer ?? '', () => readLetters(consumer === undefined ? {} : { consumer }), 5_000);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [question, setQuestion] = useState<Question>();
  const [said, setSaid] = useState('');
  const action = useAction();
  const groups = useMemo(() => groupsOf(found.value?.letters ?? []), [found.value]);

  const toggle = (ids: readonly string[], on: boolean): void => {
    const next = new Set(chosen);
    for (const id of ids)
      if (on) next.add(id);
      else next.delete(id);
    setChosen(next);
  };
  /** Counts what a filter finds before anything is asked: the list may show a part alone. */
  const preview = (verb: Verb, { stream, consumer: of, reason, error }: Group): Promise<boolean> =>
    action.run(async () => {
      const filter = { stream, consumer: of, reason, ...(error === '' ? {} : { error }) };
      const { matched, next } = await many(verb, { ...filter, dryRun: true, limit: 500 });
      setQuestion({ verb, filter, count: matched, more: next !== undefined });
    });
  const carryOut = async (asked: Question): Promise<void> => {
    await action.run(async () => {
      let done = 0;
      const skipped: string[] = [];
      if (asked.filter !== undefined) {
        let cursor: number | undefined;
        do {
          const answer = await many(asked.verb, {
            ...asked.filter,
            limit: 500,
            ...(cursor === undefined ? {} : { cursor }),
          });
          done += answer.replayed ?? answer.purged ?? 0;
          skipped.push(...(answer.skipped ?? []).map(({ id, detail }) => `${id}: ${detail}`));
          cursor = answer.next;
        } while (cursor !== undefined);
      }
      for (const id of asked.ids ?? []) {
        const params = { path: { id } };
        if (asked.verb === 'redrive') await sluice.api.POST('/v1/dead-letters/{id}:replay', { params });
        else await sluice.api.DELETE('/v1/dead-letters/{id}', { params });
        done += 1;
      }
      const what = asked.verb === 'redrive' ? 'sent on their way again' : 'removed';
      setSaid(
        `${countText(done)} ${what}, and written down in the audit log.${skipped.length > 0 ? ` Left: ${skipped.slice(0, 5).join('; ')}` : ''}`,
      );
    });
    setQuestion(undefined);
    setChosen(new Set());
    found.refresh();
  };

  return (
    <>
      <div class="title">
        <h1>Dead letters</h1>
        {consumer !== undefined && (
          <button type="button" onClick={() => replaceQuery(place, { consumer: undefined })}>
            {consumer} ✕<span class="visually-hidden"> Show those of all consumers</span>
          </button>
        )}
      </div>
      <ProblemNote problem={found.problem ?? action.problem} />
      {said !== '' && (
        <div class="note good" role="status">
          {said}
        </div>
      )}
      {found.value?.letters.length === 0 && (
        <div class="panel">
          <h2>None</h2>
          <p class="quiet">
            No work was given up. What fails on every attempt is kept here with its payload and its last error.
          </p>
        </div>
      )}
      {chosen.size > 0 && (
        <div class="row">
          <strong>{countText(chosen.size)} chosen</strong>
          <button
            type="button"
            class="first"
            onClick={() => setQuestion({ verb: 'redrive', ids: [...chosen], count: chosen.size, more: false })}
          >
            Redrive the chosen
          </button>
          <button
            type="button"
            class="danger"
            onClick={() => setQuestion({ verb: 'purge', ids: [...chosen], count: chosen.size, more: false })}
          >
            Remove the chosen
          </button>
        </div>
      )}
      {groups.map((group) => (
        <GroupPanel
          key={`${group.stream} ${group.consumer} ${group.reason} ${group.error}`}
          group={group}
          busy={action.busy}
          chosen={chosen}
          onToggle={toggle}
          onAll={(verb) => void preview(verb, group)}
          onOne={(verb, id) => setQuestion({ verb, ids: [id], count: 1, more: false })}
        />
      ))}
      {found.value?.more === true && (
        <p class="note">
          Only the newest {countText(found.value.letters.length)} are shown. “All of these” reaches the others, too.
        </p>
      )}
      {question !== undefined && (
        <Confirm
          title={`${question.verb === 'redrive' ? 'Send on their way again' : 'Remove for good'}: ${countText(question.count)}${question.more ? ' or more' : ''}`}
          action={question.verb === 'redrive' ? 'Redrive' : 'Remove'}
          danger={question.verb === 'purge'}
          busy={action.busy}
          onConfirm={() => void carryOut(question)}
          onCancel={() => setQuestion(undefined)}
        >
          {question.filter !== undefined && (
            <p>
              Every dead letter of <code>{question.filter.stream}</code>, <code>{question.filter.consumer}</code> with
              the reason <code>{question.filter.reason}</code>
              {question.filter.error === undefined ? (
                ', of any error.'
              ) : (
                <>
                  {' '}
                  and the error <code>{question.filter.error}</code>.
                </>
              )}
            </p>
          )}
          <p>
            {question.verb === 'redrive'
              ? 'Each runs again from its first attempt. Fix the cause first, or they come back.'
              : 'What is removed cannot be sent again. The audit log keeps that it was removed, not what it said.'}
          </p>
        </Confirm>
      )}
    </>
  );
}

type ManyBody = Filter & { readonly limit: number; readonly cursor?: number; readonly dryRun?: boolean };
interface ManyAnswer {
  readonly matched: number;
  readonly replayed?: number;
  readonly purged?: number;
  readonly skipped?: readonly { readonly id: string; readonly detail: string }[];
  readonly next?: number;
}

const many = (verb: Verb, body: ManyBody): Promise<ManyAnswer> =>
  verb === 'redrive'
    ? dataOf(sluice.api.POST('/v1/dead-letters:replay', { body }))
    : dataOf(sluice.api.POST('/v1/dead-letters:purge', { body }));

const SHOWN = 20;

function GroupPanel(props: {
  readonly group: Group;
  readonly busy: boolean;
  readonly chosen: ReadonlySet<string>;
  readonly onToggle: (ids: readonly string[], on: boolean) => void;
  readonly onAll: (verb: Verb) => void;
  readonly onOne: (verb: Verb, id: string) => void;
}) {
  const { group, busy, chosen, onToggle, onAll, onOne } = props;
  const { stream, consumer, reason, error, errorName, letters } = group;
  const ids = letters.map(({ id }) => id);
  const [shown, setShown] = useState(SHOWN);
  return (
    <section class="panel stack" aria-label={[`${consumer}: ${reason}`, error].filter(Boolean).join(', ')}>
      <div class="title">
        <h2 style={{ margin: 0 }}>
          {countText(letters.length)} × {consumer} {reasons[reason] ?? reason}
        </h2>
        <span class="spring" />
        <button type="button" disabled={busy} onClick={() => onAll('redrive')}>
          Redrive all of these
        </button>
        <button type="button" class="danger" disabled={busy} onClick={() => onAll('purge')}>
          Remove all of these
        </button>
      </div>
      <p class="quiet">
        {stream} · <code>{reason}</code>
        {error !== '' && (
          <>
            {' '}
            · <code>{error}</code>
            {errorName !== error && ` ${errorName}`}
          </>
        )}
      </p>
      <label class="check">
        <input
          type="checkbox"
          checked={ids.every((id) => chosen.has(id))}
          onChange={(event) => onToggle(ids, event.currentTarget.checked)}
        />
        {letters.length === 1 ? 'Choose it' : `Choose these ${countText(letters.length)}`}
      </label>
      {letters.slice(0, shown).map((letter) => (
        <Letter key={letter.id} letter={letter} chosen={chosen.has(letter.id)} onToggle={onToggle} onOne={onOne} />
      ))}
      {letters.length > shown && (
        <button type="button" onClick={() => setShown(shown + SHOWN)}>
          Show more of {countText(letters.length)}
        </button>
      )}
    </section>
  );
}

function Letter(props: {
  readonly letter: DeadLetter;
  readonly chosen: boolean;
  readonly onToggle: (ids: readonly string[], on: boolean) => void;
  readonly onOne: (verb: Verb, id: string) => void;
}) {
  const { letter, chosen, onToggle, onOne } = props;
  const [open, setOpen] = useState(false);
  return (
    <div class="letter">
      <div class="row">
        <input
          type="checkbox"
          aria-label={`Choose dead letter ${letter.id}`}
          checked={chosen}
          onChange={(event) => onToggle([letter.id], event.currentTarget.checked)}
        />
        <button type="button" class="plain" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? '▾' : '▸'} {letter.detail === '' ? letter.messageId : letter.detail.slice(0, 120)}
        </button>
        <time class="quiet" dateTime={letter.failedAt} title={dateTimeText(letter.failedAt)}>
          {agoText(letter.failedAt)}
        </time>
      </div>
      {open && (
        <div class="stack">
          <dl class="facts">
            {letter.jobId !== undefined && (
              <>
                <dt>Job</dt>
                <dd>
                  <a class="mono" href={placeUrl(['jobs', letter.jobId])}>
                    {letter.jobId}
                  </a>
                </dd>
              </>
            )}
            <dt>Last failure</dt>
            <dd>{letter.detail}</dd>
            <dt>Attempts</dt>
            <dd>
              {letter.attempts === 1 ? 'one delivery' : `${letter.attempts} deliveries`}
              {letter.replays > 0 && `, redriven ${letter.replays === 1 ? 'once' : `${letter.replays} times`} before`}
            </dd>
            <dt>Subject</dt>
            <dd class="mono">{letter.subject}</dd>
            <dt>Size</dt>
            <dd>{bytesText(letter.bytes)}</dd>
          </dl>
          {letter.payload === undefined && <p class="quiet">Its payload, which cannot be read, as base64:</p>}
          <Code
            text={letter.payload === undefined ? (letter.payloadBase64 ?? '') : JSON.stringify(letter.payload, null, 2)}
          />
          <div class="row">
            <button type="button" onClick={() => onOne('redrive', letter.id)}>
              Redrive
            </button>
            <button type="button" class="danger" onClick={() => onOne('purge', letter.id)}>
              Remove
            </button>
          </div>
        </div>
      )}
    </div>
  );
}
