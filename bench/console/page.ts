import type { Page } from '../../apps/console/tests/browser.ts';

/** What the functions below use of a browser: they run in the page, and this repository is compiled for Node. */
interface Browser {
  longTasks?: number[];
  readonly document: { querySelector(selector: string): unknown };
  readonly location: { hash: string };
  readonly requestAnimationFrame: (callback: () => void) => void;
}

/** Watches the event loop of the page from here on. */
export const watchTasks = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const seen: number[] = [];
    (globalThis as unknown as Browser).longTasks = seen;
    new PerformanceObserver((list) => seen.push(...list.getEntries().map(({ duration }) => duration))).observe({
      type: 'longtask' as never,
    });
  });

/** The longest task since the last time this was asked for; 0 for none of more than 50 ms. */
export const longestTaskMs = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const seen = (globalThis as unknown as Browser).longTasks ?? [];
    return Math.max(0, ...seen.splice(0));
  });

/** How a view came up. */
export interface Shown {
  /** From the answer that it waited for last, or from the first event of a stream, to the frame that shows it. */
  readonly drawMs: number;
  /** From the change of the address to that frame. */
  readonly shownMs: number;
}

/** Goes to a view and waits for what stands for it: an element, by its selector. */
export const show = (page: Page, hash: string, selector: string): Promise<Shown> =>
  page.evaluate(
    ([to, wanted]) =>
      new Promise<Shown>((resolve) => {
        const { document, location, requestAnimationFrame } = globalThis as unknown as Browser;
        const fetched = globalThis.fetch;
        const startedMs = performance.now();
        let dataMs = startedMs;
        let streamedMs: number | undefined;
        globalThis.fetch = async (...args) => {
          const answer = await fetched(...args);
          if (answer.headers.get('content-type') === 'text/event-stream' && answer.body !== null) {
            const decoder = new TextDecoder();
            // Before its first event the gateway reads the history.
            const noted = new TransformStream<Uint8Array, Uint8Array>({
              transform(piece, controller) {
                if (streamedMs === undefined && decoder.decode(piece).includes('data: '))
                  streamedMs = performance.now();
                controller.enqueue(piece);
              },
            });
            return new Response(answer.body.pipeThrough(noted), answer);
          }
          const body = await answer.clone().arrayBuffer();
          dataMs = performance.now();
          return new Response(answer.status === 204 ? null : body, answer);
        };
        location.hash = to ?? '';
        const look = (): void => {
          if (document.querySelector(wanted ?? '') === null) {
            requestAnimationFrame(look);
            return;
          }
          // The frame after is on the screen.
          requestAnimationFrame(() => {
            globalThis.fetch = fetched;
            const nowMs = performance.now();
            resolve({ drawMs: nowMs - (streamedMs ?? dataMs), shownMs: nowMs - startedMs });
          });
        };
        look();
      }),
    [hash, selector],
  );

/** Goes to a view. */
export const goTo = (page: Page, hash: string): Promise<void> =>
  page.evaluate((to) => void ((globalThis as unknown as Browser).location.hash = to), hash);

/** Bytes of the page's heap once what is not used was collected. */
export async function heapBytes(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  try {
    await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    return usedSize;
  } finally {
    await session.detach();
  }
}
