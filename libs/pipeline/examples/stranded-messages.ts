import { setUp } from './setup.ts';
const { nats, close } = await setUp('legacy');
// #region shown
import { startStrandedMessageScanner } from '@sluice/pipeline';

const scanner = startStrandedMessageScanner({ nats, stream: 'orders', consumer: 'legacy', pipeline: 'legacy' });
console.log(`${await scanner.scan()} stranded`);
// #endregion
scanner.stop();
await close();
// prints: 0 stranded
