import { expect, test } from 'vitest';
import { eventTextReader } from './event-text.ts';

const text =
  'retry: 1000\n\nid: 1-0\nevent: state\ndata: {"a":1}\n\n: still here\n\nid: 1-7\nevent: lifecycle\ndata: one\ndata: two\n\nevent: cut';
const events = [
  { name: 'state', data: '{"a":1}', id: '1-0' },
  { name: 'lifecycle', data: 'one\ntwo', id: '1-7' },
];

test('events are the same wherever their text is cut', () => {
  for (let size = 1; size <= text.length; size += 1) {
    const read = eventTextReader();
    const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, n) =>
      text.slice(n * size, (n + 1) * size),
    );
    expect(pieces.flatMap((piece) => read(piece))).toEqual(events);
  }
});
