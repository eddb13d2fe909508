import { describe } from 'vitest';
import { natsSource } from '../nats-source.ts';
import { conformance } from '../../src/conformance/index.ts';

describe.concurrent('the newest nats-server', () => {
  conformance(() => natsSource());
});
