// Renders every template in Chromium at phone and desktop width, light and dark, into docs/email/. Nothing is fetched.
// Run: pnpm --filter @sluice/email screenshots (CHROMIUM names a browser that is not in a usual place).
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mailTemplateNames } from '@sluice/contracts';
import { previewHtml } from './src/templates/preview.ts';

const usual = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const browser = [process.env['CHROMIUM'], ...usual].find((path) => path !== undefined && existsSync(path));
const folder = join(import.meta.dirname, '../../docs/email');
const widths = { phone: 375, desktop: 700 } as const;
const START_TIMEOUT_MS = 15_000;

/** The part of Chromium's DevTools protocol that is needed here. */
interface DevTools {
  call<R>(method: string, params?: object): Promise<R>;
  close(): void;
}

async function openDevTools(url: string): Promise<DevTools> {
  const socket = new WebSocket(url);
  const pending = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  let serial = 0;
  socket.addEventListener('message', ({ data }) => {
    const { id, result, error } = JSON.parse(String(data)) as {
      id?: number;
      result?: unknown;
      error?: { message: string };
    };
    const waiting = pending.get(id ?? -1);
    pending.delete(id ?? -1);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error.message));
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', () => reject(new Error('Chromium does not answer')), { once: true });
  });
  return {
    call<R>(method: string, params: object = {}) {
      serial += 1;
      socket.send(JSON.stringify({ id: serial, method, params }));
      return new Promise<R>((resolve, reject) => {
        pending.set(serial, { resolve: (result) => resolve(result as R), reject });
      });
    },
    close: () => socket.close(),
  };
}

/** Chromium writes the port it chose into its profile. */
async function pageUrl(profile: string, chromium: ChildProcess): Promise<string> {
  const file = join(profile, 'DevToolsActivePort');
  for (let waitedMs = 0; waitedMs < START_TIMEOUT_MS; waitedMs += 50) {
    if (chromium.exitCode !== null) throw new Error(`Chromium ended with ${chromium.exitCode}`);
    const port = existsSync(file) ? readFileSync(file, 'utf8').split('\n')[0] : '';
    if (port !== undefined && port !== '') {
      const pages = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
        type: string;
        webSocketDebuggerUrl: string;
      }[];
      const page = pages.find(({ type }) => type === 'page');
      if (page !== undefined) return page.webSocketDebuggerUrl;
    }
    await sleep(50);
  }
  throw new Error('Chromium did not start in time');
}

async function shoot(devTools: DevTools): Promise<number> {
  let bytes = 0;
  const { frameTree } = await devTools.call<{ frameTree: { frame: { id: string } } }>('Page.getFrameTree');
  for (const name of mailTemplateNames) {
    for (const [device, width] of Object.entries(widths)) {
      for (const scheme of ['light', 'dark']) {
        const features = [{ name: 'prefers-color-scheme', value: scheme }];
        await devTools.call('Emulation.setEmulatedMedia', { features });
        const metrics = { width, height: 200, deviceScaleFactor: 1.5, mobile: device === 'phone' };
        await devTools.call('Emulation.setDeviceMetricsOverride', metrics);
        await devTools.call('Page.setDocumentContent', { frameId: frameTree.frame.id, html: previewHtml(name) });
        await sleep(200);
        const { cssContentSize } = await devTools.call<{ cssContentSize: { height: number } }>('Page.getLayoutMetrics');
        await devTools.call('Emulation.setDeviceMetricsOverride', {
          ...metrics,
          height: Math.ceil(cssContentSize.height),
        });
        const { data } = await devTools.call<{ data: string }>('Page.captureScreenshot', {
          format: 'webp',
          quality: 60,
        });
        const image = Buffer.from(data, 'base64');
        bytes += image.length;
        writeFileSync(join(folder, `${name}-${device}-${scheme}.webp`), image);
      }
    }
  }
  return bytes;
}

if (browser === undefined) {
  console.log(`skipped: no Chromium in ${usual.join(', ')}; set CHROMIUM to one`);
} else {
  const profile = mkdtempSync(join(tmpdir(), 'sluice-screenshots-'));
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--hide-scrollbars',
  ];
  const chromium = spawn(
    browser,
    [...flags, '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
    { stdio: 'ignore' },
  );
  try {
    mkdirSync(folder, { recursive: true });
    const devTools = await openDevTools(await pageUrl(profile, chromium));
    const bytes = await shoot(devTools);
    devTools.close();
    console.log(`${mailTemplateNames.length * 4} screenshots, ${Math.round(bytes / 1024)} KiB, in docs/email/`);
  } finally {
    chromium.kill('SIGTERM');
    await new Promise((resolve) => {
      if (chromium.exitCode !== null) return resolve(undefined);
      chromium.once('exit', resolve);
    });
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
