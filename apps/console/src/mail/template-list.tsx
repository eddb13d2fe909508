import { useState } from 'preact/hooks';
import { useAction, useLive } from '../api/live.ts';
import { placeUrl } from '../router.ts';
import { useMay } from '../session/session.ts';
import { ActionHeader } from '../ui/action-header.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { dateTimeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { deleteTemplate, listTemplates } from './templates.ts';

/** The templates that the account has written. */
export function TemplateList() {
  const may = useMay();
  const found = useLive('templates', listTemplates, 10_000);
  const [deleting, setDeleting] = useState<string>();
  const action = useAction();
  const remove = async (name: string): Promise<void> => {
    await action.run(() => deleteTemplate(name));
    setDeleting(undefined);
    found.refresh();
  };
  return (
    <section class="panel stack" aria-labelledby="templates">
      <div class="title">
        <h2 id="templates">Templates of this account</h2>
        <span class="spring" />
        {may('templates:write') && (
          <a class="button" href={placeUrl(['mail', 'templates', 'new'])}>
            New template
          </a>
        )}
      </div>
      <p class="quiet">
        A mail names its template; <code>welcome</code>, <code>notification</code> and <code>image-ready</code> are
        always there. Mails that were accepted keep the version of that moment.
      </p>
      <ProblemNote problem={found.problem ?? action.problem} />
      {found.value?.length === 0 && <p>None yet.</p>}
      {found.value !== undefined && found.value.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Templates">
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th class="number">Version</th>
                <th>Written</th>
                <ActionHeader />
              </tr>
            </thead>
            <tbody>
              {found.value.map(({ name, latest, versions }) => (
                <tr key={name}>
                  <td>
                    <a href={placeUrl(['mail', 'templates', name])}>{name}</a>
                  </td>
                  <td class="number">{latest}</td>
                  <td>{dateTimeText(versions.at(-1)?.createdAt ?? 0)}</td>
                  <td class="fit">
                    {may('templates:write') && (
                      <button type="button" class="danger" onClick={() => setDeleting(name)}>
                        Delete<span class="visually-hidden"> {name}</span>
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {deleting !== undefined && (
        <Confirm
          title={`Delete ${deleting} with all its versions?`}
          action="Delete it"
          danger
          busy={action.busy}
          onConfirm={() => void remove(deleting)}
          onCancel={() => setDeleting(undefined)}
        >
          <p>Mails that were accepted and not sent yet fail, and no mail can name it any more.</p>
        </Confirm>
      )}
    </section>
  );
}
