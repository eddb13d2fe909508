import { useEffect, useRef } from 'preact/hooks';
import icon from './icon.svg';
import { JobPage } from './jobs/job-page.tsx';
import { JobsPage } from './jobs/jobs-page.tsx';
import { placeUrl, usePlace, type Place } from './router.ts';
import { TryPage } from './try/try-page.tsx';
import { ThemeSwitch } from './ui/theme.tsx';

interface Screen {
  readonly path: string;
  readonly name: string;
  readonly draw: (place: Place) => preact.ComponentChildren;
}

const screens: readonly Screen[] = [
  {
    path: 'jobs',
    name: 'Jobs',
    draw: (place) =>
      place.path[1] === undefined ? <JobsPage place={place} /> : <JobPage id={place.path[1]} key={place.path[1]} />,
  },
  { path: 'try', name: 'Try it', draw: (place) => <TryPage place={place} /> },
];

export function App() {
  const place = usePlace();
  const screen = screens.find(({ path }) => path === (place.path[0] ?? 'jobs'));
  const heading = useRef<HTMLElement>(null);
  const where = place.path.join('/');
  useEffect(() => {
    document.title = `${screen?.name ?? 'Not found'} · Sluice`;
  }, [screen]);
  const first = useRef(true);
  useEffect(() => {
    // A screen reader says where it is after a change of the screen, as it would after a page was loaded.
    if (first.current) first.current = false;
    else heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [where]);
  return (
    <div class="frame">
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), heading.current?.focus())}>
        Skip to the content
      </a>
      <header class="side">
        <div class="brand">
          <img src={icon} alt="" />
          Sluice
          <span class="spring" />
          <ThemeSwitch />
        </div>
        <nav aria-label="Screens">
          {screens.map(({ path, name }) => (
            <a key={path} href={placeUrl([path])} aria-current={screen?.path === path ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
      </header>
      <main id="content" ref={heading} tabIndex={-1}>
        {screen === undefined ? (
          <p>
            There is no such page. <a href="#/">Back to the start</a>
          </p>
        ) : (
          screen.draw(place)
        )}
      </main>
    </div>
  );
}
