import { render } from 'preact';
import { App } from './app.tsx';
import './styles.css';
import { applyStoredTheme } from './ui/theme.tsx';

applyStoredTheme();
const root = document.getElementById('app');
if (root === null) throw new Error('index.html has no element with the id "app"');
render(<App />, root);
