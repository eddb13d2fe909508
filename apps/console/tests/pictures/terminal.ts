import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { Page } from '../browser.ts';

const MAIN = join(import.meta.dirname, '../../../command-line/src/main.ts');
const PROMPT = '$ sluice ';

/** Runs a command of the command line and returns all that it prints. */
export function runSluice(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string,
): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...words], { env: { ...process.env, ...env }, cwd }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
}

/** Draws commands and what they have printed as a terminal shows them, and takes the picture. */
export async function drawTerminal(
  page: Page,
  path: string,
  shown: readonly { readonly words: readonly string[]; readonly output: string }[],
): Promise<void> {
  await page.setContent(`<style>
    body { margin: 0; background: #101418; }
    pre { margin: 0; padding: 20px 24px; width: max-content; color: #e6ebf0; font: 13px/1.5 'DejaVu Sans Mono', monospace; }
    b { color: #5fc9dd; font-weight: normal; }
  </style><pre></pre>`);
  await page.locator('pre').evaluate(
    (screen, commands) => {
      for (const { line, output } of commands) {
        const typed = document.createElement('b');
        typed.textContent = line;
        screen.append(typed, `\n${output}\n`);
      }
    },
    shown.map(({ words, output }) => ({
      line: PROMPT + words.map((word) => (/[\s"']/.test(word) ? `"${word}"` : word)).join(' '),
      output,
    })),
  );
  await page.locator('pre').screenshot({ path });
}
