import { keepHeapSmall } from './heap.ts';

keepHeapSmall();
const { runService } = await import('@sluice/service');
const { imageFields } = await import('./config.ts');
const { startImage } = await import('./service.ts');

await runService({ name: 'image', version: '0.1.0', config: imageFields, start: startImage });
