import { useEffect, useState } from 'preact/hooks';
import { useAction, useLive } from '../api/live.ts';
import { placeUrl } from '../router.ts';
import { useMay } from '../session/session.ts';
import { Code } from '../ui/code.tsx';
import { dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { MailFrame } from './mail-frame.tsx';
import {
  blank,
  getTemplate,
  listTemplates,
  previewTemplate,
  publishTemplate,
  type Definition,
  type Preview,
} from './templates.ts';

/** After the last key: each preview compiles the template. */
const PAUSE_MS = 600;

interface Draft {
  readonly subject: string;
  readonly language: 'mjml' | 'html';
  readonly source: string;
  readonly text: string;
  /** JSON. */
  readonly variables: string;
  readonly recurring: boolean;
  /** Other languages, which are kept as they are. */
  readonly locales: Definition['locales'];
}

const pretty = (value: unknown): string => JSON.stringify(value, null, 2);

const draftOf = ({ subject, mjml, html, text, variables = {}, recurring = false, locales }: Definition): Draft => ({
  subject,
  language: mjml === undefined && html !== undefined ? 'html' : 'mjml',
  source: mjml ?? html ?? '',
  text,
  variables: pretty(variables),
  recurring,
  locales,
});

/** @throws {SyntaxError} when the variables are no JSON. */
function definitionOf({ subject, language, source, text, variables, recurring, locales }: Draft): Definition {
  return {
    subject,
    [language]: source,
    text,
    variables: JSON.parse(variables) as NonNullable<Definition['variables']>,
    recurring,
    ...(locales === undefined ? {} : { locales }),
  };
}

/** Writes a template: each change is checked and shown as a mail; publishing makes a version. */
export function TemplateEditor({ name: given }: { readonly name: string | undefined }) {
  const may = useMay();
  const [name, setName] = useState(given ?? '');
  const [draft, setDraft] = useState<Draft | undefined>(given === undefined ? draftOf(blank) : undefined);
  const [version, setVersion] = useState<number>();
  const [said, setSaid] = useState('');
  const action = useAction();
  const heads = useLive('heads', listTemplates);
  const versions = heads.value?.find((head) => head.name === name)?.versions ?? [];
  const load = (wanted?: number): Promise<boolean> =>
    action.run(async () => {
      const found = await getTemplate(given ?? name, wanted);
      setDraft(draftOf(found));
      setVersion(found.version);
    });
  useEffect(() => {
    if (given !== undefined) void load();
  }, []);
  const { preview, problem, wrong, busy } = usePreview(draft);
  const change = (part: Partial<Draft>): void =>
    setDraft((before) => (before === undefined ? before : { ...before, ...part }));
  const publish = (): Promise<boolean> =>
    action.run(async () => {
      if (draft === undefined) return;
      const made = await publishTemplate(name, definitionOf(draft));
      setSaid(
        made.version === version ? `Version ${made.version} says the same.` : `Published as version ${made.version}.`,
      );
      setVersion(made.version);
      heads.refresh();
      if (given === undefined) location.hash = placeUrl(['mail', 'templates', name]);
    });
  if (draft === undefined) return <ProblemNote problem={action.problem} />;
  return (
    <div class="columns">
      <form
        class="panel stack"
        aria-label="Template"
        onSubmit={(event) => {
          event.preventDefault();
          void publish();
        }}
      >
        <div class="row">
          <a href={placeUrl(['mail', 'templates'])}>All templates</a>
          <span class="spring" />
          {versions.length > 0 && (
            <label class="row">
              Version
              <select value={version} onChange={(event) => void load(Number(event.currentTarget.value))}>
                {versions.toReversed().map(({ version: each, createdAt }) => (
                  <option key={each} value={each}>
                    {each} of {dateTimeText(createdAt)}
                  </option>
                ))}
              </select>
            </label>
          )}
        </div>
        {given === undefined && (
          <label class="field">
            Name
            <input
              required
              pattern="[a-z][a-z0-9\-]*"
              title="A letter, then lower-case letters, digits and -"
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </label>
        )}
        <label class="field">
          Subject
          <input required value={draft.subject} onInput={(event) => change({ subject: event.currentTarget.value })} />
        </label>
        <label class="field">
          Written in
          <select
            value={draft.language}
            onChange={(event) => change({ language: event.currentTarget.value as Draft['language'] })}
          >
            <option value="mjml">MJML</option>
            <option value="html">HTML</option>
          </select>
        </label>
        <label class="field">
          {draft.language === 'mjml' ? 'MJML' : 'HTML'}
          <textarea
            class="source"
            rows={16}
            spellcheck={false}
            value={draft.source}
            onInput={(event) => change({ source: event.currentTarget.value })}
          />
        </label>
        <label class="field">
          Text, for readers without HTML
          <textarea rows={4} value={draft.text} onInput={(event) => change({ text: event.currentTarget.value })} />
        </label>
        <label class="field">
          Variables, as JSON
          <textarea
            class="source"
            rows={8}
            spellcheck={false}
            aria-invalid={wrong !== ''}
            value={draft.variables}
            onInput={(event) => change({ variables: event.currentTarget.value })}
          />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={draft.recurring}
            onChange={(event) => change({ recurring: event.currentTarget.checked })}
          />
          Comes again and again: mails can be unsubscribed from
        </label>
        {draft.locales !== undefined && Object.keys(draft.locales).length > 0 && (
          <p class="quiet">It keeps its other languages: {Object.keys(draft.locales).join(', ')}.</p>
        )}
        <div class="row">
          <button
            type="submit"
            class="first"
            disabled={action.busy || wrong !== '' || problem !== undefined || !may('templates:write')}
          >
            Publish
          </button>
          <span role="status">{said}</span>
        </div>
        <ProblemNote problem={action.problem} />
      </form>
      <section class="panel stack" aria-labelledby="preview">
        <h2 id="preview">Preview, with the examples</h2>
        {wrong !== '' && (
          <div class="note bad" role="status">
            The variables are no JSON: {wrong}
          </div>
        )}
        <ProblemNote problem={problem} />
        {preview !== undefined && (
          <div class={`stack ${busy ? 'busy' : ''}`}>
            <dl class="facts">
              <dt>Subject</dt>
              <dd>{preview.subject}</dd>
            </dl>
            <MailFrame html={preview.html} />
            <details>
              <summary>As text</summary>
              <Code text={preview.text} />
            </details>
          </div>
        )}
      </section>
    </div>
  );
}

/** The draft as a mail, a moment after the last change, or what is wrong with it. */
function usePreview(draft: Draft | undefined) {
  const [preview, setPreview] = useState<Preview>();
  const [wrong, setWrong] = useState('');
  const action = useAction();
  const key = JSON.stringify(draft);
  useEffect(() => {
    if (draft === undefined) return undefined;
    let over = false;
    const timer = setTimeout(() => {
      let definition: Definition;
      try {
        definition = definitionOf(draft);
        setWrong('');
      } catch (error) {
        setWrong(error instanceof Error ? error.message : String(error));
        return;
      }
      void action.run(async () => {
        const filled = await previewTemplate(definition);
        if (!over) setPreview(filled);
      });
    }, PAUSE_MS);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key]);
  return { preview, wrong, problem: action.problem, busy: action.busy };
}
