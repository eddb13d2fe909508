import { describe } from 'vitest';
import { natsSource } from '../nats-source.ts';
import { conformance } from '../../src/conformance/index.ts';

describe.concurrent('the oldest supported nats-server', () => {
  conformance(() => natsSource('2.10'));
});
