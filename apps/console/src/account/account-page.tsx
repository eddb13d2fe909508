import { dataOf, type Account } from '@sluice/client';
import { useContext, useState } from 'preact/hooks';
import { sluiceOnce } from '../api/client.ts';
import { useLive } from '../api/live.ts';
import { placeUrl } from '../router.ts';
import { SessionContext, useMay } from '../session/session.ts';
import { countText, dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { KeysPanel } from './keys-panel.tsx';
import { WebhooksPanel } from './webhooks-panel.tsx';

const limitNames: readonly (readonly [keyof Account['limits'], string])[] = [
  ['requestsPerSecond', 'requests a second'],
  ['allRequestsPerSecond', 'requests a second of all accounts together'],
  ['mailsPerRecipientPerHour', 'mails an hour to one address'],
  ['keys', 'API keys'],
  ['eventStreams', 'event streams open at once'],
];

/** The account that is signed in: what it may do, its limits, credits, keys and webhooks. */
export function AccountPage() {
  const may = useMay();
  return (
    <>
      <h1>Account</h1>
      {may('account:read') && <AccountFacts />}
      {may('keys') ? (
        <KeysPanel />
      ) : (
        <p class="quiet">
          Keys are made and revoked with a key that has the scope <code>keys</code>, or by an operator:{' '}
          <code>npx pnpm keys</code>.
        </p>
      )}
      {(may('jobs:read') || may('webhooks:secrets')) && <WebhooksPanel />}
    </>
  );
}

function AccountFacts() {
  const { expiresAt } = useContext(SessionContext);
  const account = useLive('account', () => sluiceOnce.account.get(), 10_000);
  return (
    <>
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
            <dt>Limits</dt>
            <dd>
              {limitNames
                .flatMap(([name, words]) => {
                  const limit = account.value?.limits[name];
                  return limit === undefined ? [] : [`${countText(limit)} ${words}`];
                })
                .join(', ')}
            </dd>
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
    </>
  );
}

const SHOWN = 5;
const MOST_SHOWN = 100;

function TransactionList() {
  const [limit, setLimit] = useState(SHOWN);
  const found = useLive(
    'transactions',
    () => dataOf(sluiceOnce.api.GET('/v1/accounts/me/transactions', { params: { query: { limit } } })),
    10_000,
  );
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
      {limit === SHOWN && found.value?.transactions.length === SHOWN && (
        <button
          type="button"
          onClick={() => {
            setLimit(MOST_SHOWN);
            found.refresh();
          }}
        >
          Show older ones
        </button>
      )}
    </section>
  );
}
