import type { NewEmail } from '@sluice/client';
import { useEffect, useState } from 'preact/hooks';
import { sluice } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { MailFrame } from '../mail/mail-frame.tsx';
import { getTemplate, listTemplates, previewOf, type Preview, type Version } from '../mail/templates.ts';
import { useMay, useNeedsKey } from '../session/session.ts';
import { Code } from '../ui/code.tsx';
import { CopyButton } from '../ui/copy-button.tsx';
import { ProblemNote } from '../ui/problem-note.tsx';
import { asCode, asCurl, type Asked } from './snippets.ts';
import { WatchedJob } from './watched-job.tsx';

/** What each shipped template is filled with, as an example to change. */
const examples: Readonly<Record<string, object>> = {
  welcome: { name: 'Ada' },
  notification: { title: 'Your report is ready', message: 'It has 12 pages.' },
  'image-ready': { link: 'https://files.example/report.pdf', jobId: 'report-12' },
};

const pretty = (value: unknown): string => JSON.stringify(value, null, 2);

/** After the last key, until what is written is shown. */
const PAUSE_MS = 400;

/** A mail of a template, filled in: shown as its reader will see it, and sent. */
export function EmailForm({ from }: { readonly from: string | undefined }) {
  const [to, setTo] = useState('ada@example.com');
  const [template, setTemplate] = useState('welcome');
  const [variables, setVariables] = useState(pretty(examples['welcome']));
  /** What a mail that is to be run again had besides: copies, headers, metadata. */
  const [others, setOthers] = useState<Partial<NewEmail>>({});
  const [lacks, setLacks] = useState<readonly string[]>([]);
  const [sent, setSent] = useState<string>();
  /** An answer is about to fill the fields: what is typed meanwhile would mix with it. */
  const [filling, setFilling] = useState(from !== undefined);
  const action = useAction();
  const needsKey = useNeedsKey();
  const may = useMay();
  const own = useLive('templates', may('jobs:read') ? listTemplates : async () => []);
  const fill = (work: () => Promise<void>): void => {
    setFilling(true);
    void action.run(work).then(() => setFilling(false));
  };
  useEffect(() => {
    if (from === undefined) return;
    fill(async () => {
      const { json, lacks: missing = [] } = await sluice.jobs.request(from);
      if (json === undefined) return;
      const { to: before, template: name, variables: values = {}, ...rest } = json as NewEmail;
      setTo(before);
      setTemplate(name);
      setVariables(pretty(values));
      setOthers(rest);
      setLacks(missing);
    });
  }, [from]);
  let filled: Record<string, unknown> = {};
  let wrong = '';
  try {
    if (variables.trim() !== '') filled = JSON.parse(variables) as Record<string, unknown>;
  } catch (error) {
    wrong = error instanceof Error ? error.message : String(error);
  }
  const email: NewEmail = { ...others, to, template, variables: filled };
  const asked: Asked = { path: '/v1/emails', query: {}, json: email };
  const choose = (name: string): void => {
    setTemplate(name);
    if (examples[name] !== undefined) return setVariables(pretty(examples[name]));
    fill(async () => setVariables(pretty(examplesOf(await getTemplate(name)))));
  };
  const send = (): Promise<boolean> =>
    action.run(async () => {
      setSent((await sluice.emails.send(email)).id);
    });
  const names = [...new Set([...Object.keys(examples), ...(own.value ?? []).map(({ name }) => name), template])];
  return (
    <div class="columns">
      <form
        class="panel stack"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <label class="field">
          To
          <input
            type="email"
            required
            value={to}
            disabled={filling}
            onInput={(event) => setTo(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          Template
          <select value={template} disabled={filling} onChange={(event) => choose(event.currentTarget.value)}>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label class="field">
          Variables, as JSON
          <textarea
            class="source"
            rows={8}
            value={variables}
            disabled={filling}
            spellcheck={false}
            aria-invalid={wrong !== ''}
            aria-describedby="variables-wrong"
            onInput={(event) => setVariables(event.currentTarget.value)}
          />
        </label>
        <div id="variables-wrong" class={wrong === '' ? '' : 'note bad'} role="status">
          {wrong}
        </div>
        {lacks.length > 0 && (
          <p class="note warn">The mail had {lacks.join(', ')}, which are not kept: this one goes without.</p>
        )}
        <div class="row">
          <button type="submit" class="first" disabled={wrong !== '' || action.busy}>
            {action.busy ? 'Sending…' : 'Send'}
          </button>
          <CopyButton text={() => asCurl(asked, location.origin, needsKey)}>Copy as curl</CopyButton>
          <CopyButton text={() => asCode(asked, location.origin, needsKey)}>Copy as code</CopyButton>
        </div>
        <ProblemNote problem={action.problem} />
      </form>
      <div class="stack">
        {sent !== undefined && <WatchedJob id={sent} key={sent} />}
        {may('jobs:read') && <MailPreview template={template} variables={wrong === '' ? filled : undefined} />}
      </div>
    </div>
  );
}

/** What stands in a template of the account until it is changed. */
const examplesOf = ({ variables = {} }: Version): object =>
  Object.fromEntries(
    Object.entries(variables).map(([name, { kind, example, default: usual }]) => [
      name,
      example ?? usual ?? (kind === 'flag' ? false : ''),
    ]),
  );

/** The mail as its reader will see it, a moment after the last change. */
function MailPreview(props: { readonly template: string; readonly variables: Record<string, unknown> | undefined }) {
  const { template, variables } = props;
  const [preview, setPreview] = useState<Preview>();
  const action = useAction();
  const key = variables === undefined ? undefined : JSON.stringify([template, variables]);
  useEffect(() => {
    if (variables === undefined) return undefined;
    let over = false;
    const timer = setTimeout(() => {
      void action.run(async () => {
        const found = await previewOf(template, variables);
        if (!over) setPreview(found);
      });
    }, PAUSE_MS);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key]);
  return (
    <section class="panel stack" aria-labelledby="preview">
      <h2 id="preview">As its reader will see it</h2>
      <ProblemNote problem={action.problem} />
      {preview !== undefined && (
        <>
          <dl class="facts">
            <dt>Subject</dt>
            <dd>{preview.subject}</dd>
          </dl>
          <MailFrame html={preview.html} />
          <details>
            <summary>As text</summary>
            <Code text={preview.text} />
          </details>
        </>
      )}
    </section>
  );
}
