import { describe } from 'vitest';
import { memorySource } from '../memory-source.ts';
import { conformance } from './rows.ts';

describe.concurrent('in memory', () => {
  conformance(async () => memorySource());
});
