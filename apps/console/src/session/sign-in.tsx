import { useState } from 'preact/hooks';
import icon from '../icon.svg';
import { useAction } from '../api/live.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

/** Asks for an API key and gives it to the gateway, which answers with a cookie. The page keeps no key. */
export function SignIn({ onSignIn }: { readonly onSignIn: (key: string) => Promise<void> }) {
  const [key, setKey] = useState('');
  const action = useAction();
  return (
    <main style={{ maxWidth: '28rem', margin: '0 auto', paddingTop: '12vh' }}>
      <form
        class="panel stack"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(() => onSignIn(key.trim()));
        }}
      >
        <div class="row">
          <img src={icon} alt="" width="32" height="32" />
          <h1>Sign in to Sluice</h1>
        </div>
        <label class="field">
          API key
          <input
            type="password"
            required
            autoFocus
            autocomplete="current-password"
            value={key}
            placeholder="sk_…"
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="first" disabled={action.busy}>
          {action.busy ? 'Signing in…' : 'Sign in'}
        </button>
        <ProblemNote problem={action.problem} />
        <p class="quiet">
          What you see depends on what the key may do. An operator makes one with{' '}
          <code>npx pnpm keys create ACCOUNT SCOPES</code>.
        </p>
      </form>
    </main>
  );
}
