import { expect, test } from 'vitest';
import { png } from './pictures.ts';
import { eventually, startRig } from './rig.ts';

test('a gateway that stops answers what it has begun, and does not wait for connections that are merely kept', async () => {
  const rig = await startRig();
  const picture = png(8, 6, 10_000);
  const rest = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    async start(stream) {
      stream.enqueue(picture.subarray(0, 5_000));
      await rest.promise;
      stream.enqueue(picture.subarray(5_000));
      stream.close();
    },
  });
  let begun = 0;
  rig.gateway.app.server.on('request', () => (begun += 1));
  const answer = rig.call('/v1/images', { body });
  await eventually(
    () => Promise.resolve(begun),
    (count) => count === 1,
  );
  const stopped = rig.gateway.stop();
  rest.resolve();
  expect((await answer).status).toBe(202);
  // The client keeps its connection for another 72 s, which is longer than a test may take.
  await stopped;
  await rig.stop();
});
