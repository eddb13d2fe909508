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

  test('fits the width: a list is a number, further fields go to a line of their own', () => {
    const created = Array.from({ length: 27 }, (_, n) => `STREAM_${n}`);
    const lines: string[] = [];
    const view = createLogView((line) => lines.push(...plain(line).split('\n')));
    view('gateway', JSON.stringify({ msg: 'topology provisioned', created, updated: ['JOBS'] }));
    expect(lines).toEqual(['gateway   topology provisioned created=27 entries updated=["JOBS"]']);
    lines.length = 0;
    view('gateway', JSON.stringify({ msg: 'm', ...Object.fromEntries(created.map((name) => [name, 'a value'])) }));
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.every((line) => line.length <= 120)).toBe(true);
    expect(lines.join(' ').match(/STREAM_\d+=a value/g)).toHaveLength(27);
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
