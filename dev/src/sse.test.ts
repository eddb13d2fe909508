import { describe, expect, test } from 'vitest';
import { createParser, type ServerSentEvent } from './sse.ts';

const parse = (...chunks: string[]): ServerSentEvent[] => {
  const events: ServerSentEvent[] = [];
  const push = createParser((event) => events.push(event));
  chunks.forEach(push);
  return events;
};

describe('an event stream', () => {
  test('gives events with their id, joining data lines', () => {
    expect(parse('id: 7\nevent: job\ndata: a\ndata: b\n\n')).toEqual([{ id: '7', event: 'job', data: 'a\nb' }]);
  });

  test('is read the same wherever it is cut', () => {
    const whole = 'id: 1\r\ndata: x\r\n\r\n: heartbeat\n\ndata: y\n\n';
    for (let at = 0; at <= whole.length; at += 1) {
      expect(parse(whole.slice(0, at), whole.slice(at)).map((e) => e.data)).toEqual(['x', 'y']);
    }
  });

  test('skips comments, unknown fields and an event without its empty line', () => {
    expect(parse(': hello\n\nretry: 1\n\ndata: cut off')).toEqual([]);
  });
});
