import { runService } from '@sluice/service';
import { emailFields } from './config.ts';
import { startEmail } from './service.ts';

await runService({ name: 'email', version: '0.1.0', config: emailFields, start: (context) => startEmail(context) });
