import { dataOf, type ApiKey, type NewApiKey, type Scope } from '@sluice/client';
import { useContext, useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { SessionContext } from '../session/session.ts';
import { ActionHeader } from '../ui/action-header.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { CopyButton } from '../ui/copy-button.tsx';
import { dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

/** What each scope lets a key do, in words. */
const meanings: Readonly<Record<string, string>> = {
  'jobs:write': 'send and cancel jobs',
  'jobs:read': 'see jobs, their events and PDFs',
  'events:write': 'report events of messages',
  'events:read': 'see messages and their flows',
  'account:read': 'see credits and limits',
  'webhooks:secrets': 'see and replace what webhooks are signed with',
  erasures: 'erase persons',
  'templates:write': 'write mail templates',
  'mail:reports': 'report bounces and complaints',
  'emails:copies': 'send mails with cc and bcc',
  keys: 'make and revoke keys',
  admin: 'operate the system',
};

/** The API keys of the account: made, shown once, and revoked. */
export function KeysPanel() {
  const { scopes: mine } = useContext(SessionContext);
  const found = useLive('keys', () => dataOf(sluiceOnce.api.GET('/v1/accounts/me/keys')), 10_000);
  const [wanted, setWanted] = useState<ReadonlySet<string>>(new Set(['jobs:read']));
  const [made, setMade] = useState<NewApiKey>();
  const [revoking, setRevoking] = useState<ApiKey>();
  const action = useAction();
  const offered = mine.includes('*') ? Object.keys(meanings) : mine;
  const keys = found.value?.keys ?? [];
  const isFull = found.value !== undefined && keys.length >= found.value.most;

  const create = (): Promise<boolean> =>
    action.run(async () => {
      setMade(await sluice.keys.create([...wanted] as Scope[]));
      found.refresh();
    });
  const revoke = async ({ prefix }: ApiKey): Promise<void> => {
    await action.run(() => sluice.keys.revoke(prefix));
    if (made?.prefix === prefix) setMade(undefined);
    setRevoking(undefined);
    found.refresh();
  };
  const toggle = (scope: string): void => {
    const next = new Set(wanted);
    if (!next.delete(scope)) next.add(scope);
    setWanted(next);
  };

  return (
    <section class="panel stack" aria-labelledby="keys">
      <h2 id="keys">API keys</h2>
      {keys.length === 0 && found.value !== undefined && <p class="quiet">This account has no keys.</p>}
      {keys.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Keys">
          <table>
            <thead>
              <tr>
                <th>Begins with</th>
                <th>May</th>
                <th>Since</th>
                <ActionHeader />
              </tr>
            </thead>
            <tbody>
              {keys.map((key) => (
                <tr key={key.prefix}>
                  <td class="mono">{key.prefix}…</td>
                  <td>{key.scopes.join(', ')}</td>
                  <td>{dateTimeText(key.createdAt)}</td>
                  <td class="fit">
                    <button type="button" class="danger" onClick={() => setRevoking(key)}>
                      Revoke<span class="visually-hidden"> {key.prefix}</span>
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {made !== undefined && (
        <div class="note good stack" role="status">
          <strong>The new key. It is shown this once: copy it now.</strong>
          <div class="row">
            <code class="secret">{made.key}</code>
            <CopyButton text={() => made.key}>Copy the key</CopyButton>
            <button type="button" class="plain" onClick={() => setMade(undefined)}>
              I have it
            </button>
          </div>
        </div>
      )}
      {isFull ? (
        <p class="quiet">
          An account has {found.value?.most} keys at most: the one in use, and the one that replaces it. Revoke one to
          make another.
        </p>
      ) : (
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void create();
          }}
        >
          <fieldset class="checks">
            <legend>What a new key may do</legend>
            {offered.map((scope) => (
              <label class="check" key={scope}>
                <input type="checkbox" checked={wanted.has(scope)} onChange={() => toggle(scope)} />
                <span>
                  <code>{scope}</code> <span class="quiet">{meanings[scope]}</span>
                </span>
              </label>
            ))}
          </fieldset>
          <div class="row">
            <button type="submit" class="first" disabled={action.busy || wanted.size === 0}>
              Make a key
            </button>
          </div>
        </form>
      )}
      <ProblemNote problem={action.problem ?? found.problem} />
      {revoking !== undefined && (
        <Confirm
          title={`Revoke ${revoking.prefix}…?`}
          action="Revoke it"
          danger
          busy={action.busy}
          onConfirm={() => void revoke(revoking)}
          onCancel={() => setRevoking(undefined)}
        >
          <p>
            Requests with it are refused from now on, and browsers that signed in with it are signed out: this one, if
            it is yours.
          </p>
        </Confirm>
      )}
    </section>
  );
}
