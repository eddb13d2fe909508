import { placeUrl, type Place } from '../router.ts';
import { useMay } from '../session/session.ts';
import { Suppressions } from './suppressions.tsx';
import { TemplateEditor } from './template-editor.tsx';
import { TemplateList } from './template-list.tsx';

/** Templates of the account, and addresses that get no mail. */
export function MailPage({ place }: { readonly place: Place }) {
  const may = useMay();
  const [, what = may('jobs:read') ? 'templates' : 'suppressions', name] = place.path;
  return (
    <>
      <div class="title">
        <h1>Mail</h1>
        <nav class="tabs" aria-label="What of mail">
          {may('jobs:read') && (
            <a
              class="button"
              href={placeUrl(['mail', 'templates'])}
              aria-current={what === 'templates' ? 'page' : undefined}
            >
              Templates
            </a>
          )}
          {may('admin') && (
            <a
              class="button"
              href={placeUrl(['mail', 'suppressions'])}
              aria-current={what === 'suppressions' ? 'page' : undefined}
            >
              Suppressions
            </a>
          )}
        </nav>
      </div>
      {what === 'suppressions' ? (
        <Suppressions />
      ) : name === undefined ? (
        <TemplateList />
      ) : (
        <TemplateEditor key={name} name={name === 'new' ? undefined : name} />
      )}
    </>
  );
}
