import { useContext, useState } from 'preact/hooks';
import { useAction, useLive } from '../api/live.ts';
import { request } from '../api/request.ts';
import { placeUrl } from '../router.ts';
import { SessionContext, useMay } from '../session/session.ts';
import { Confirm } from '../ui/confirm.tsx';
import { CopyButton } from '../ui/copy-button.tsx';
import { countText, dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

interface Account {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly credits?: { readonly balance: number; readonly prices: Readonly<Record<string, number>> };
}
interface Transactions {
  readonly transactions: readonly {
    readonly id: string;
    readonly kind: string;
    readonly amount: number;
    readonly balance: number;
    readonly at: string;
    readonly jobId?: string;
    readonly note?: string;
  }[];
}

/** The account that is signed in: what it may do, its credits, and what its webhooks are signed with. */
export function AccountPage() {
  const { expiresAt } = useContext(SessionContext);
  const may = useMay();
  const account = useLive('account', () => request<Account>('GET', '/v1/accounts/me'), 10_000);
  return (
    <>
      <h1>Account</h1>
      <ProblemNote problem={account.problem} />
      {account.value !== undefined && (
        <section class="panel" aria-label="This account">
          <dl class="facts">
            <dt>Account</dt>
            <dd>{account.value.id}</dd>
            <dt>May</dt>
            <dd>{account.value.scopes.includes('*') ? 'everything: keys are off' : account.value.scopes.join(', ')}</dd>
            {expiresAt !== undefined && (
              <>
                <dt>Signed in until</dt>
                <dd>{dateTimeText(expiresAt)}</dd>
              </>
            )}
            {account.value.credits !== undefined && (
              <>
                <dt>Credits</dt>
                <dd>{countText(account.value.credits.balance)}</dd>
                <dt>Prices</dt>
                <dd>
                  {Object.entries(account.value.credits.prices)
                    .map(([kind, price]) => `${kind} ${price}`)
                    .join(', ')}
                </dd>
              </>
            )}
          </dl>
        </section>
      )}
      {account.value?.credits !== undefined && <TransactionList />}
      {may('webhooks:secrets') && <WebhookSecrets />}
      <p class="quiet">
        Keys are made and taken back in a terminal: <code>npx pnpm keys</code>.
      </p>
    </>
  );
}

function TransactionList() {
  const found = useLive('transactions', () => request<Transactions>('GET', '/v1/accounts/me/transactions'), 10_000);
  return (
    <section class="panel" aria-labelledby="transactions">
      <h2 id="transactions">Transactions, newest first</h2>
      <ProblemNote problem={found.problem} />
      <div class="scroll" tabIndex={0} role="group" aria-label="Transactions">
        <table>
          <thead>
            <tr>
              <th>Time</th>
              <th>What</th>
              <th class="number">Amount</th>
              <th class="number">Balance</th>
            </tr>
          </thead>
          <tbody>
            {found.value?.transactions.map(({ id, kind, amount, balance, at, jobId, note }) => (
              <tr key={id}>
                <td>{dateTimeText(at)}</td>
                <td>
                  {kind} {note}
                  {jobId !== undefined && (
                    <a class="mono" href={placeUrl(['jobs', jobId])}>
                      {jobId}
                    </a>
                  )}
                </td>
                <td class="number">{countText(amount)}</td>
                <td class="number">{countText(balance)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface Secrets {
  readonly secrets: readonly { readonly secret: string; readonly createdAt: string; readonly expiresAt?: string }[];
}

/** The secrets, which are fetched only when the reader asks to see them. */
function WebhookSecrets() {
  const [secrets, setSecrets] = useState<Secrets>();
  const [asking, setAsking] = useState(false);
  const action = useAction();
  const show = (): Promise<boolean> => action.run(async () => setSecrets(await request('GET', '/v1/webhooks/secrets')));
  const rotate = (): Promise<boolean> =>
    action.run(async () => {
      setSecrets(await request('POST', '/v1/webhooks/secrets:rotate'));
      setAsking(false);
    });
  return (
    <section class="panel stack" aria-labelledby="webhooks">
      <h2 id="webhooks">Webhooks</h2>
      <p>Every webhook of this account is signed; check the signature with any library for Standard Webhooks.</p>
      {secrets?.secrets.map(({ secret, createdAt, expiresAt }) => (
        <div class="row" key={secret}>
          <code>{secret}</code>
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
    </section>
  );
}
