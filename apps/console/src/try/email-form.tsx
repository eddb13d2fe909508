import type { NewEmail } from '@sluice/client';
import { useEffect, useState } from 'preact/hooks';
import { sluice } from '../api/client.ts';
import { useAction } from '../api/live.ts';
import { useNeedsKey } from '../session/session.ts';
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

/** A mail of a template, filled in. */
export function EmailForm({ from }: { readonly from: string | undefined }) {
  const [to, setTo] = useState('ada@example.com');
  const [template, setTemplate] = useState('welcome');
  const [variables, setVariables] = useState(pretty(examples['welcome']));
  /** What a mail that is to be run again had besides: copies, headers, metadata. */
  const [others, setOthers] = useState<Partial<NewEmail>>({});
  const [sent, setSent] = useState<string>();
  const action = useAction();
  const needsKey = useNeedsKey();
  useEffect(() => {
    if (from === undefined) return;
    void action.run(async () => {
      const { json } = await sluice.jobs.request(from);
      if (json === undefined) return;
      const { to: before, template: name, variables: values = {}, ...rest } = json as NewEmail;
      setTo(before);
      setTemplate(name);
      setVariables(pretty(values));
      setOthers(rest);
    });
  }, [from]);
  let filled: unknown;
  let wrong = '';
  try {
    filled = variables.trim() === '' ? {} : JSON.parse(variables);
  } catch (error) {
    wrong = error instanceof Error ? error.message : String(error);
  }
  const email: NewEmail = { ...others, to, template, variables: filled as Record<string, unknown> };
  const asked: Asked = { path: '/v1/emails', query: {}, json: email };
  const send = (): Promise<boolean> =>
    action.run(async () => {
      setSent((await sluice.emails.send(email)).id);
    });
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
          <input type="email" required value={to} onInput={(event) => setTo(event.currentTarget.value)} />
        </label>
        <label class="field">
          Template
          <select
            value={template}
            onChange={(event) => {
              const name = event.currentTarget.value;
              setTemplate(name);
              setVariables(pretty(examples[name] ?? {}));
            }}
          >
            {Object.keys(examples).map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label class="field">
          Variables, as JSON
          <textarea
            value={variables}
            spellcheck={false}
            aria-invalid={wrong !== ''}
            aria-describedby="variables-wrong"
            onInput={(event) => setVariables(event.currentTarget.value)}
          />
        </label>
        <div id="variables-wrong" class={wrong === '' ? '' : 'note bad'} role="status">
          {wrong}
        </div>
        <div class="row">
          <button type="submit" class="first" disabled={wrong !== '' || action.busy}>
            {action.busy ? 'Sending…' : 'Send'}
          </button>
          <CopyButton text={() => asCurl(asked, location.origin, needsKey)}>Copy as curl</CopyButton>
          <CopyButton text={() => asCode(asked, location.origin, needsKey)}>Copy as code</CopyButton>
        </div>
        <ProblemNote problem={action.problem} />
      </form>
      {sent !== undefined && <WatchedJob id={sent} key={sent} />}
    </div>
  );
}
