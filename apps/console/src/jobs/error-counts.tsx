import { dataOf, type JobFilter } from '@sluice/client';
import { sluiceOnce } from '../api/client.ts';
import { useLive } from '../api/live.ts';
import { placeUrl, type Place } from '../router.ts';
import { agoText, countText } from '../ui/format.ts';
import { adviceFor } from './advice.ts';

const EVERY_MS = 10_000;
const SHOWN = 12;

/** Why jobs failed of late, each a filter of the list. */
export function ErrorCounts({ place }: { readonly place: Place }) {
  const kind = (place.query.get('kind') ?? undefined) as JobFilter['kind'];
  const chosen = place.query.get('error');
  const found = useLive(
    kind ?? '',
    () => dataOf(sluiceOnce.api.GET('/v1/jobs:errors', { params: { query: kind === undefined ? {} : { kind } } })),
    EVERY_MS,
  );
  if (found.value === undefined || found.value.errors.length === 0) return null;
  const { counted, more, errors } = found.value;
  return (
    <section class="panel stack" aria-label="Errors">
      <p class="quiet">
        {counted === 1
          ? 'Why the job that failed did:'
          : `Why the ${more ? 'newest ' : ''}${countText(counted)} failed jobs did:`}
      </p>
      <ul class="row plain">
        {errors.slice(0, SHOWN).map(({ code, jobs, newestAt }) => (
          <li key={code}>
            <a
              class="button"
              href={placeUrl(['jobs'], {
                ...Object.fromEntries(place.query),
                state: undefined,
                error: code === chosen ? undefined : code,
              })}
              aria-current={code === chosen ? 'true' : undefined}
              title={`${adviceFor(code).means} Newest ${agoText(newestAt)}.`}
            >
              <code>{code}</code> {countText(jobs)}
            </a>
          </li>
        ))}
      </ul>
      {errors.length > SHOWN && <p class="quiet">And {countText(errors.length - SHOWN)} rarer ones.</p>}
    </section>
  );
}
