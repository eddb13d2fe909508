import { stripVTControlCharacters as plain } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createLogView, readable } from './log-view.ts';

describe('a log line for a person', () => {
  test('keeps what happened and leaves out what every line has', () => {
    const line = JSON.stringify({
      time: 't',
      level: 'info',
      service: 'image',
      instance: 'image-1',
      msg: 'done',
      ms: 4,
    });
    expect(plain(readable(line))).toBe('done ms=4');
  });

  test('shows the level when it matters, and the stack of an error', () => {
    const err = { message: 'no', stack: 'Error: no\n  at here' };
    expect(plain(readable(JSON.stringify({ level: 'error', msg: 'failed', err })))).toBe(
      'ERROR failed\nError: no\n  at here',
    );
  });

  test('is given through as it came when it is no JSON', () => {
    expect(readable('Segmentation fault')).toBe('Segmentation fault');
    expect(readable('{ not json')).toBe('{ not json');
  });

  test('says who wrote it', () => {
    const lines: string[] = [];
    const view = createLogView((line) => lines.push(plain(line)));
    view('image-2', '{"msg":"hello"}');
    expect(lines).toEqual(['image-2   hello']);
  });
});
