import { useEffect, useState } from 'preact/hooks';

const themes = ['system', 'light', 'dark'] as const;
type Theme = (typeof themes)[number];
const STORED_AS = 'sluice-theme';

/** Storage may be refused by the browser's settings; then the choice holds for this page. */
function stored(): Theme {
  try {
    const found = localStorage.getItem(STORED_AS);
    return themes.find((theme) => theme === found) ?? 'system';
  } catch {
    return 'system';
  }
}

function apply(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}

/** Before the first paint, so that the page does not flash in the other colours. */
export const applyStoredTheme = (): void => apply(stored());

/** Chooses between the colours of the system and one's own choice. */
export function ThemeSwitch() {
  const [theme, setTheme] = useState(stored);
  useEffect(() => {
    apply(theme);
    try {
      localStorage.setItem(STORED_AS, theme);
    } catch {
      // The choice is forgotten with the page.
    }
  }, [theme]);
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'system';
  const icons: Readonly<Record<Theme, string>> = { system: '◐', light: '☀', dark: '☾' };
  return (
    <button
      type="button"
      class="plain"
      title={`Colours: ${theme}. Change to ${next}.`}
      aria-label={`Colours: ${theme}. Change to ${next}.`}
      onClick={() => setTheme(next)}
    >
      <span aria-hidden="true">{icons[theme]}</span>
    </button>
  );
}
