import { dataOf, type operations } from '@sluice/client';
import { useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { ActionHeader } from '../ui/action-header.tsx';
import { dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

type Page = operations['listSuppressions']['responses'][200]['content']['application/json'];
const LIMIT = 100;

/** Addresses that get no mail: look one up, keep one out, let one back in. */
export function Suppressions() {
  const found = useLive(
    'suppressions',
    () => dataOf(sluiceOnce.api.GET('/v1/suppressions', { params: { query: { limit: LIMIT } } })),
    10_000,
  );
  /** What was asked for behind the first page, until something is changed. */
  const [later, setLater] = useState<Page | undefined>();
  const shown = [...(found.value?.suppressions ?? []), ...(later?.suppressions ?? [])];
  const next = later === undefined ? found.value?.next : later.next;
  const showMore = (): Promise<boolean> =>
    action.run(async () => {
      if (next === undefined) return;
      const params = { query: { limit: LIMIT, cursor: next } };
      const page = await dataOf(sluice.api.GET('/v1/suppressions', { params }));
      setLater({ ...page, suppressions: [...(later?.suppressions ?? []), ...page.suppressions] });
    });
  const [address, setAddress] = useState('');
  const [said, setSaid] = useState('');
  const action = useAction();
  const change = (what: 'add' | 'remove', of: string): Promise<boolean> =>
    action.run(async () => {
      if (what === 'add') await sluice.api.POST('/v1/suppressions', { body: { address: of } });
      else await sluice.api.DELETE('/v1/suppressions/{address}', { params: { path: { address: of } } });
      setLater(undefined);
      setSaid(what === 'add' ? `${of} gets no more mail.` : `${of} gets mail again.`);
      found.refresh();
    });
  return (
    <>
      <form
        class="panel stack"
        onSubmit={(event) => {
          event.preventDefault();
          void change('add', address.trim());
        }}
      >
        <h2>Suppressions</h2>
        <p class="quiet">
          Addresses that bounced, complained or want no more. The list has no addresses, only what stands for them: type
          one to find it.
        </p>
        <label class="field">
          Address
          <input type="email" required value={address} onInput={(event) => setAddress(event.currentTarget.value)} />
        </label>
        <div class="row">
          <button type="submit" disabled={action.busy}>
            Send it no more mail
          </button>
          <button
            type="button"
            disabled={action.busy || address.trim() === ''}
            onClick={() => void change('remove', address.trim())}
          >
            Let it back in
          </button>
          <span role="status">{said}</span>
        </div>
        <ProblemNote problem={action.problem ?? found.problem} />
      </form>
      {shown.length > 0 && (
        <div class="panel flush">
          <div class="scroll" tabIndex={0} role="group" aria-label="Suppressed addresses">
            <table>
              <thead>
                <tr>
                  <th>Stands for an address</th>
                  <th>Reason</th>
                  <th>Since</th>
                  <ActionHeader />
                </tr>
              </thead>
              <tbody>
                {shown.map(({ hash, reason, since }) => (
                  <tr key={hash}>
                    <td class="mono">{hash.slice(0, 16)}…</td>
                    <td>{reason}</td>
                    <td>{dateTimeText(since)}</td>
                    <td class="fit">
                      <button type="button" onClick={() => void change('remove', hash)}>
                        Let back in<span class="visually-hidden"> {hash.slice(0, 16)}</span>
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      )}
      {next !== undefined && (
        <button type="button" disabled={action.busy} onClick={() => void showMore()}>
          Show more
        </button>
      )}
    </>
  );
}
