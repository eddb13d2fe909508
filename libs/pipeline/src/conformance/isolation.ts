import { describe } from 'vitest';
import { base, recordEvents } from './source.ts';
import type { Row } from './source.ts';

const text = (bytes: Uint8Array): { n: number } => ({ n: bytes.length });

const throwing = (name: string, ...over: readonly string[]): Error => {
  const error = new Error('plain');
  for (const property of over) {
    Object.defineProperty(error, property, {
      get() {
        throw new Error(`${name} cannot be read`);
      },
    });
  }
  return error;
};

/** A fault of one message is that message's alone: it ends in the dead letters and the next one is handled. */
export function isolationRows(row: Row): void {
  describe('a message whose headers the client cannot parse', () => {
    for (const line of ['Bad Name: x', 'Na\u00efve: x']) {
      for (const body of ['x', '']) {
        row(
          `"${line}" ${body === '' ? 'without' : 'with'} a body is dead-lettered, the next one handled`,
          async (context) => {
            const { place, start, expect } = context;
            const events = recordEvents();
            let calls = 0;
            const running = await start(
              {
                ...base(place),
                decode: text,
                handle: async ({ headers, id }) => {
                  calls++;
                  if (headers.size > 1 || id === '') throw new Error('unexpected');
                },
              },
              events.observe,
            );
            await place.storeForeign(line, body);
            await place.store('good');
            await expect.poll(() => place.left()).toBe(0);
            expect(calls).toBe(1);
            expect(
              (await place.deadLetters()).map(({ body: kept, headers }) => [kept, headers.get('Dlq-Reason')]),
            ).toEqual([[body, 'decode']]);
            expect(events.of('connection.lost')).toEqual([]);
            expect(running.health()).toMatchObject({ ok: true });
          },
        );
      }
    }
  });

  describe('a failure that cannot be described', () => {
    const failures: Readonly<Record<string, () => unknown>> = {
      'an error whose message throws': () => throwing('message', 'message'),
      'an error whose code and name throw': () => throwing('code', 'code', 'name'),
      'an error whose message is no text': () => Object.assign(new Error('x'), { message: { toString: null } }),
      'an object without prototype': (): unknown => Object.create(null),
      'a proxy that refuses every question': () =>
        new Proxy(
          {},
          {
            get() {
              throw new Error('no');
            },
            getPrototypeOf() {
              throw new Error('no');
            },
          },
        ),
      'nothing at all': () => undefined,
      'a symbol': () => Symbol('x'),
    };
    for (const [what, make] of Object.entries(failures)) {
      row(`${what} is retried and dead-lettered like any other`, async ({ place, start, expect }) => {
        const running = await start({
          ...base(place),
          handle: async ({ data }) => {
            if (data.n === 1) throw make();
          },
        });
        await place.send({ n: 1 }, { n: 2 });
        await expect.poll(() => place.left()).toBe(0);
        expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'))).toEqual(['exhausted']);
        expect(running.snapshot()).toMatchObject({ inFlight: 0, buffered: 0 });
      });
    }

    row('an outcome without a reason, and one whose fields throw', async ({ place, start, expect }) => {
      await start({
        ...base(place),
        handle: async ({ data }) => {
          if (data.n === 1) return { kind: 'deadLetter' } as never;
          if (data.n === 2) return { kind: 'skip' } as never;
          if (data.n === 3) {
            return {
              get kind() {
                throw new Error('no kind');
              },
            } as never;
          }
          return undefined;
        },
      });
      await place.send({ n: 1 }, { n: 2 }, { n: 3 });
      await expect.poll(() => place.left()).toBe(0);
      const reasons = (await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'));
      expect(new Set(reasons)).toEqual(new Set(['exhausted', 'rejected']));
    });
  });

  describe('what the pipeline was given throws', () => {
    row('redact: the header is left out of the record', async ({ place, start, expect }) => {
      await place.store('{"n":1}', { headers: { 'X-Token': 'secret' } });
      await start({
        ...base(place),
        deadLetter: {
          redact: () => {
            throw new Error('bug');
          },
        },
        handle: async () => ({ kind: 'deadLetter', reason: 'unwanted' }),
      });
      await expect.poll(() => place.left()).toBe(0);
      const [record] = await place.deadLetters();
      expect(record?.headers.get('Dlq-Detail')).toBe('unwanted');
      expect(record?.headers.has('X-Token')).toBe(false);
    });
  });
}
