import { runService } from '@sluice/service';
import { imageFields } from './config.ts';
import { startImage } from './service.ts';

await runService({ name: 'image', version: '0.1.0', config: imageFields, start: startImage });
