import { describe } from 'vitest';
import { memorySource } from '../memory-source.ts';
import { conformance } from '../../src/conformance/index.ts';

describe.concurrent('in memory', () => {
  conformance(async () => memorySource());
});
