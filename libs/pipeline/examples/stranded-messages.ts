import { setUp } from './setup.ts';
const { nats, close } = await setUp('legacy');
// #region shown
import { startBackstop } from '@sluice/pipeline';

const backstop = startBackstop({ nats, stream: 'orders', consumer: 'legacy', pipeline: 'legacy' });
console.log(`${await backstop.scan()} stranded`);
// #endregion
backstop.stop();
await close();
// prints: 0 stranded
