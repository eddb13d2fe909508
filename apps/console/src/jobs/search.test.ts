import { expect, test } from 'vitest';
import { searchOf } from './search.ts';

test.each([
  ['ada@example.com', { field: 'recipient', value: 'ada@example.com' }],
  ['order=17', { field: 'metadata', value: 'order:17' }],
  ['order: 17', { field: 'metadata', value: 'order:17' }],
  ['sender=ada@example.com', { field: 'metadata', value: 'sender:ada@example.com' }],
  ['corrupt_image', { field: 'error', value: 'corrupt_image' }],
  ['timeout', { field: 'error', value: 'timeout' }],
  ['scan-500.png', { field: 'fileName', value: 'scan-500.png' }],
  [' Scan of May.PNG ', { field: 'fileName', value: 'Scan of May.PNG' }],
  ['job_yxcrp6lxoidmnovh346bhq5qf7', { job: 'job_yxcrp6lxoidmnovh346bhq5qf7' }],
  ['  ', undefined],
])('%s is looked for as what it looks like', (typed, found) => {
  expect(searchOf(typed)).toEqual(found);
});
