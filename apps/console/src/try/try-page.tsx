import { placeUrl, type Place } from '../router.ts';
import { ImagesForm } from './images-form.tsx';
import { EmailForm } from './email-form.tsx';

/** Send something through the system, and watch it. */
export function TryPage({ place }: { readonly place: Place }) {
  const what = place.path[1] === 'mail' ? 'mail' : 'images';
  const from = place.query.get('from') ?? undefined;
  return (
    <>
      <div class="title">
        <h1>Try it</h1>
        <nav class="tabs" aria-label="What to try">
          <a class="button" href={placeUrl(['try'])} aria-current={what === 'images' ? 'page' : undefined}>
            Images to PDF
          </a>
          <a class="button" href={placeUrl(['try', 'mail'])} aria-current={what === 'mail' ? 'page' : undefined}>
            Mail
          </a>
        </nav>
      </div>
      {what === 'images' ? <ImagesForm key={from} from={from} /> : <EmailForm key={from} from={from} />}
    </>
  );
}
