import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { AccountPage } from './account/account-page.tsx';
import { DeadLettersPage } from './dead-letters/dead-letters-page.tsx';
import icon from './icon.svg';
import { JobPage } from './jobs/job-page.tsx';
import { JobsPage } from './jobs/jobs-page.tsx';
import { LinksContext, useLinks } from './links/links.tsx';
import { LoadPage } from './load/load-page.tsx';
import { MailPage } from './mail/mail-page.tsx';
import { MessagesPage } from './messages/messages-page.tsx';
import { OverviewPage } from './overview/overview-page.tsx';
import { placeUrl, usePlace, type Place } from './router.ts';
import { SessionContext, useSession, type Session } from './session/session.ts';
import { SignIn } from './session/sign-in.tsx';
import { TryPage } from './try/try-page.tsx';
import { ErrorBoundary } from './ui/error-boundary.tsx';
import { ProblemNote } from './ui/problem-note.tsx';
import { ThemeSwitch } from './ui/theme.tsx';

interface Screen {
  readonly path: string;
  readonly name: string;
  /** What a key needs for it, one of them; the screen is not offered without. */
  readonly scopes: readonly string[];
  readonly draw: (place: Place) => ComponentChildren;
}

const screens: readonly Screen[] = [
  { path: 'overview', name: 'Overview', scopes: ['admin'], draw: () => <OverviewPage /> },
  { path: 'try', name: 'Try it', scopes: ['jobs:write'], draw: (place) => <TryPage place={place} /> },
  {
    path: 'jobs',
    name: 'Jobs',
    scopes: ['jobs:read'],
    draw: (place) =>
      place.path[1] === undefined ? <JobsPage place={place} /> : <JobPage id={place.path[1]} key={place.path[1]} />,
  },
  {
    path: 'messages',
    name: 'Messages',
    scopes: ['events:read'],
    draw: (place) => <MessagesPage place={place} key={place.path.join('/')} />,
  },
  { path: 'dead-letters', name: 'Dead letters', scopes: ['admin'], draw: (place) => <DeadLettersPage place={place} /> },
  { path: 'mail', name: 'Mail', scopes: ['jobs:read', 'admin'], draw: (place) => <MailPage place={place} /> },
  { path: 'load', name: 'Load', scopes: ['jobs:write'], draw: () => <LoadPage /> },
  {
    path: 'account',
    name: 'Account',
    scopes: ['account:read', 'keys', 'webhooks:secrets'],
    draw: () => <AccountPage />,
  },
];

export function App() {
  const { state, signIn, signOut } = useSession();
  if (state.kind === 'loading') return null;
  if (state.kind === 'signed-out') return <SignIn onSignIn={signIn} />;
  if (state.kind === 'unreachable') {
    return (
      <main>
        <ProblemNote problem={state.problem} />
      </main>
    );
  }
  return (
    <SessionContext.Provider value={state.session}>
      <Frame session={state.session} onSignOut={() => void signOut()} />
    </SessionContext.Provider>
  );
}

function Frame({ session, onSignOut }: { readonly session: Session; readonly onSignOut: () => void }) {
  const place = usePlace();
  const may = ({ scopes }: Screen): boolean =>
    session.scopes.includes('*') || scopes.some((scope) => session.scopes.includes(scope));
  const offered = screens.filter(may);
  const named = place.path[0] ?? offered[0]?.path;
  const screen = screens.find(({ path }) => path === named);
  const links = useLinks();
  const content = useRef<HTMLElement>(null);
  const where = place.path.join('/');
  useEffect(() => {
    document.title = `${screen?.name ?? 'Not found'} · Sluice`;
  }, [screen]);
  const isFirst = useRef(true);
  useEffect(() => {
    // A screen reader says where it is after a change of the screen, as it would after a page was loaded.
    if (isFirst.current) isFirst.current = false;
    else content.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
    // On a phone the names of the screens are wider than it is.
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [where]);
  return (
    <div class="frame">
      <a
        class="skip"
        href="#content"
        onClick={(event) => {
          event.preventDefault();
          content.current?.focus();
        }}
      >
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
          {offered.map(({ path, name }) => (
            <a key={path} href={placeUrl([path])} aria-current={screen?.path === path ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <nav class="links" aria-label="Beside the console">
          {links.map(({ name: title, url }) => (
            <a key={url} href={url} target="_blank" rel="noreferrer">
              {title} ↗
            </a>
          ))}
        </nav>
        {session.csrfToken !== undefined && (
          <div class="who">
            <span class="quiet">{session.account}</span>
            <button type="button" class="plain" onClick={onSignOut}>
              Sign out
            </button>
          </div>
        )}
      </header>
      <main id="content" ref={content} tabIndex={-1}>
        <LinksContext.Provider value={links}>
          <ErrorBoundary key={where}>
            <Content screen={screen} allowed={screen !== undefined && may(screen)} place={place} />
          </ErrorBoundary>
        </LinksContext.Provider>
      </main>
    </div>
  );
}

function Content(props: { readonly screen: Screen | undefined; readonly allowed: boolean; readonly place: Place }) {
  const { screen, allowed, place } = props;
  if (screen === undefined) {
    return (
      <p>
        There is no such page. <a href="#/">Back to the start</a>
      </p>
    );
  }
  if (!allowed) {
    return (
      <div class="note warn" role="alert">
        <strong>Your key may not see this.</strong> {screen.name} needs the scope{' '}
        <code>{screen.scopes.join(' or ')}</code>.
      </div>
    );
  }
  return <>{screen.draw(place)}</>;
}
