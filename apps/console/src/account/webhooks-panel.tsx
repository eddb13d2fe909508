import type { WebhookDeliveryPage, WebhookSecret, WebhookTest } from '@sluice/client';
import { useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { placeUrl } from '../router.ts';
import { useMay } from '../session/session.ts';
import { Confirm } from '../ui/confirm.tsx';
import { CopyButton } from '../ui/copy-button.tsx';
import { agoText, dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { StateBadge } from '../ui/state-badge.tsx';

/** The webhooks of the account: what became of them, a test of a receiver, and what they are signed with. */
export function WebhooksPanel() {
  const may = useMay();
  return (
    <section class="panel stack" aria-labelledby="webhooks">
      <h2 id="webhooks">Webhooks</h2>
      <p class="quiet">
        A job that was sent with a <code>callbackUrl</code> tells it of its end: a signed POST of the job, repeated
        until the receiver answers with a 2xx.
      </p>
      {may('jobs:write') && <TestForm />}
      {may('jobs:read') && <DeliveryList />}
      {may('webhooks:secrets') && <WebhookSecrets />}
    </section>
  );
}

function TestForm() {
  const [url, setUrl] = useState('');
  const [result, setResult] = useState<WebhookTest>();
  const action = useAction();
  const send = (): Promise<boolean> =>
    action.run(async () => {
      setResult(undefined);
      setResult(await sluice.webhooks.test(url.trim()));
    });
  return (
    <form
      class="stack"
      aria-label="Test of a receiver"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <label class="field">
        Receiver
        <input
          type="url"
          required
          value={url}
          placeholder="https://example.com/hook"
          onInput={(event) => setUrl(event.currentTarget.value)}
        />
      </label>
      <div class="row">
        <button type="submit" disabled={action.busy}>
          {action.busy ? 'Calling…' : 'Send a test'}
        </button>
        <span class="quiet">
          One call, with a job that never was (<code>metadata.test</code> is <code>true</code>).
        </span>
      </div>
      {result !== undefined && (
        <div class={`note ${result.delivered ? 'good' : 'bad'}`} role="status">
          <strong>{result.delivered ? 'Delivered' : 'Not delivered'}</strong>: {result.detail}, after{' '}
          {result.durationMs} ms.
        </div>
      )}
      <ProblemNote problem={action.problem} />
    </form>
  );
}

function DeliveryList() {
  const first = useLive('deliveries', () => sluiceOnce.webhooks.deliveries(), 5_000);
  const [older, setOlder] = useState<WebhookDeliveryPage>();
  const action = useAction();
  const next = older === undefined ? first.value?.next : older.next;
  const more = (): Promise<boolean> =>
    action.run(async () => {
      if (next === undefined) return;
      const page = await sluice.webhooks.deliveries({ cursor: next, limit: 50 });
      setOlder({
        deliveries: [...(older?.deliveries ?? []), ...page.deliveries],
        ...(page.next === undefined ? {} : { next: page.next }),
      });
    });
  const newest = first.value?.deliveries ?? [];
  const known = new Set(newest.map(({ jobId }) => jobId));
  const rows = [...newest, ...(older?.deliveries.filter(({ jobId }) => !known.has(jobId)) ?? [])];
  return (
    <div class="stack">
      <h3>Deliveries, the newest job first</h3>
      <ProblemNote problem={first.problem ?? action.problem} />
      {first.value !== undefined && rows.length === 0 && <p class="quiet">No job was sent with a callback yet.</p>}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Deliveries">
          <table>
            <thead>
              <tr>
                <th>Job</th>
                <th>Host</th>
                <th>State</th>
                <th>Last call</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ jobId, host, state, at, detail }) => (
                <tr key={jobId}>
                  <td>
                    <a class="mono" href={placeUrl(['jobs', jobId])}>
                      {jobId}
                    </a>
                  </td>
                  <td>{host}</td>
                  <td>
                    <StateBadge state={state} />
                  </td>
                  <td title={at === undefined ? undefined : dateTimeText(at)}>
                    {[detail, at === undefined ? undefined : agoText(at)].filter(Boolean).join(', ')}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {next !== undefined && (
        <div class="row">
          <button type="button" disabled={action.busy} onClick={() => void more()}>
            Show older ones
          </button>
        </div>
      )}
    </div>
  );
}

/** The secrets, which are fetched only when the reader asks to see them. */
function WebhookSecrets() {
  const [secrets, setSecrets] = useState<readonly WebhookSecret[]>();
  const [asking, setAsking] = useState(false);
  const action = useAction();
  const show = (): Promise<boolean> => action.run(async () => setSecrets(await sluice.webhooks.secrets()));
  const rotate = (): Promise<boolean> =>
    action.run(async () => {
      setSecrets(await sluice.webhooks.rotateSecret());
      setAsking(false);
    });
  return (
    <div class="stack">
      <h3>Secret</h3>
      <p>Every webhook of this account is signed; check the signature with any library for Standard Webhooks.</p>
      {secrets?.map(({ secret, createdAt, expiresAt }) => (
        <div class="row" key={secret}>
          <code class="secret">{secret}</code>
          <CopyButton text={() => secret}>Copy</CopyButton>
          <span class="quiet">
            since {dateTimeText(createdAt)}
            {expiresAt !== undefined && `, signs until ${dateTimeText(expiresAt)}`}
          </span>
        </div>
      ))}
      <div class="row">
        {secrets === undefined && (
          <button type="button" onClick={() => void show()}>
            Show the secret
          </button>
        )}
        <button type="button" onClick={() => setAsking(true)}>
          Replace the secret
        </button>
      </div>
      <ProblemNote problem={action.problem} />
      {asking && (
        <Confirm
          title="Replace the secret?"
          action="Replace it"
          busy={action.busy}
          onConfirm={() => void rotate()}
          onCancel={() => setAsking(false)}
        >
          <p>
            The secret of today signs beside the new one for another day. Give your receivers the new one until then.
          </p>
        </Confirm>
      )}
    </div>
  );
}
