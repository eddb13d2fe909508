import { context, propagation, SpanKind, trace, TraceFlags } from '@opentelemetry/api';
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { AsyncContextManager } from './context-manager.ts';
import { endedSpans } from './ended-spans.ts';
import { newTraceId } from './ids.ts';
import { keepsTrace, SpanTracerProvider } from './tracer.ts';

afterEach(() => {
  trace.disable();
  context.disable();
  propagation.disable();
});

function start(sampleRatio = 1) {
  const spans = endedSpans();
  context.setGlobalContextManager(new AsyncContextManager());
  trace.setGlobalTracerProvider(new SpanTracerProvider(sampleRatio, spans.add));
  return { spans, tracer: trace.getTracer('a library') };
}

describe('a tracer of OpenTelemetry', () => {
  test('makes children of the active span, for one library as for another', async () => {
    const { spans, tracer } = start();
    await tracer.startActiveSpan('outer', async (outer) => {
      await sleep(1);
      trace.getTracer('another').startActiveSpan('inner', { kind: SpanKind.CLIENT }, (inner) => inner.end());
      outer.end();
    });
    const [inner, outer] = spans.getFinishedSpans();
    expect(inner).toMatchObject({ name: 'inner', scope: 'another', kind: SpanKind.CLIENT });
    expect(inner?.parentSpanContext).toEqual(outer?.spanContext());
    expect(inner?.spanContext().traceId).toBe(outer?.spanContext().traceId);
    expect(inner?.spanContext().spanId).not.toBe(outer?.spanContext().spanId);
    expect(outer?.parentSpanContext).toBeUndefined();
    expect(outer?.endMs).toBeGreaterThanOrEqual(inner?.endMs ?? Infinity);
  });

  test('takes the context it is given, or none with `root`', () => {
    const { spans, tracer } = start();
    const remote = {
      traceId: newTraceId(),
      spanId: '00f067aa0ba902b7',
      traceFlags: TraceFlags.SAMPLED,
      isRemote: true,
    };
    const around = trace.setSpanContext(context.active(), remote);
    tracer.startActiveSpan('child', {}, around, (span) => span.end());
    tracer.startSpan('root', { root: true }, around).end();
    const [child, root] = spans.getFinishedSpans();
    expect(child?.parentSpanContext).toBe(remote);
    expect(root?.parentSpanContext).toBeUndefined();
    expect(root?.spanContext().traceId).not.toBe(remote.traceId);
  });

  test('takes times as the API defines them', () => {
    const { spans, tracer } = start();
    const at = new Date('2026-11-29T12:00:00.250Z');
    tracer.startSpan('dates', { startTime: at }).end(new Date(at.getTime() + 5));
    tracer.startSpan('parts', { startTime: [at.getTime() / 1000 - 0.25, 250_000_000] }).end(at.getTime() + 5);
    const began = performance.now();
    tracer.startSpan('monotonic', { startTime: began }).end(began + 5);
    tracer.startSpan('backwards', { startTime: at }).end(new Date(at.getTime() - 5));
    const [dates, parts, monotonic, backwards] = spans.getFinishedSpans();
    expect([dates?.startMs, dates?.endMs]).toEqual([at.getTime(), at.getTime() + 5]);
    expect([parts?.startMs, parts?.endMs]).toEqual([at.getTime(), at.getTime() + 5]);
    expect(monotonic!.endMs - monotonic!.startMs).toBeCloseTo(5, 2);
    expect(Math.abs(monotonic!.startMs - Date.now())).toBeLessThan(60_000);
    expect(backwards?.endMs).toBe(backwards?.startMs);
  });
});

describe('sampling', () => {
  test('follows the parent, and under one that is not sampled nothing new is named', () => {
    const { spans, tracer } = start(1);
    const parent = { traceId: newTraceId(), spanId: '00f067aa0ba902b7', traceFlags: TraceFlags.NONE, isRemote: true };
    const span = tracer.startSpan('child', {}, trace.setSpanContext(context.active(), parent));
    expect(span.isRecording()).toBe(false);
    expect(span.spanContext()).toBe(parent);
    span.end();
    expect(spans.getFinishedSpans()).toEqual([]);
    trace.disable();
    const kept = start(0);
    kept.tracer.startSpan('child', {}, trace.setSpanContext(context.active(), { ...parent, traceFlags: 1 })).end();
    expect(kept.spans.getFinishedSpans()).toHaveLength(1);
  });

  test('of a trace that begins here is by its ratio, and the same in every process', () => {
    const ids = Array.from({ length: 20_000 }, newTraceId);
    expect(new Set(ids).size).toBe(ids.length);
    const share = (ratio: number): number => ids.filter((id) => keepsTrace(id, ratio)).length / ids.length;
    expect(share(0)).toBe(0);
    expect(share(1)).toBe(1);
    expect(share(0.1)).toBeGreaterThan(0.08);
    expect(share(0.1)).toBeLessThan(0.12);
    // A trace that a lower ratio keeps is kept by a higher one.
    expect(ids.filter((id) => keepsTrace(id, 0.1) && !keepsTrace(id, 0.5))).toEqual([]);
  });

  test('a trace that is not kept has an id all the same: logs and jobs name it', () => {
    const { tracer, spans } = start(0);
    const span = tracer.startSpan('request');
    expect(span.spanContext()).toMatchObject({
      traceId: expect.stringMatching(/^[\da-f]{32}$/) as string,
      traceFlags: TraceFlags.NONE,
    });
    span.end();
    expect(spans.getFinishedSpans()).toEqual([]);
  });
});

describe('the active context', () => {
  const key = Symbol('key');
  const holding = (value: string) => context.active().setValue(key, value);
  const seen = (): unknown => context.active().getValue(key);

  test('holds over awaits and timers, and ends with the call, also with one that throws', async () => {
    start();
    const results = await Promise.all(
      ['a', 'b'].map((value) =>
        context.with(holding(value), async () => {
          await sleep(value === 'a' ? 2 : 1);
          const inside = context.with(holding(`${value}2`), () => seen());
          return [seen(), inside];
        }),
      ),
    );
    expect(results).toEqual([
      ['a', 'a2'],
      ['b', 'b2'],
    ]);
    expect(() =>
      context.with(holding('c'), () => {
        throw new Error('torn');
      }),
    ).toThrow('torn');
    expect(seen()).toBeUndefined();
  });

  test('gives arguments and `this` through, and binds functions', () => {
    start();
    const target = { name: 'x' };
    function say(this: typeof target, a: number, b: number) {
      return [this.name, a, b, seen()];
    }
    expect(context.with(holding('v'), say, target, 1, 2)).toEqual(['x', 1, 2, 'v']);
    expect(context.bind(holding('w'), say).call(target, 3, 4)).toEqual(['x', 3, 4, 'w']);
    expect(seen()).toBeUndefined();
  });

  test('leaves the storage of others alone', async () => {
    start();
    const other = new AsyncLocalStorage<string>();
    await other.run('kept', async () => {
      await context.with(holding('v'), async () => {
        await sleep(1);
        expect([other.getStore(), seen()]).toEqual(['kept', 'v']);
        await other.run('inner', () => context.with(holding('w'), () => Promise.resolve()));
        expect([other.getStore(), seen()]).toEqual(['kept', 'v']);
      });
      expect(other.getStore()).toBe('kept');
    });
  });
});
