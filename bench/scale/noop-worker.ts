// A worker that does nothing but say that it is done: what is left is what the system itself costs. `node noop-worker.ts URL`.
import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { channels, EmailSentSchema, type SendEmail } from '@sluice/contracts';
import { connectNats, createBus, decoder, encode, stepId } from '@sluice/messaging';
import { definePipeline, silentLogger } from '@sluice/pipeline';

const bus = await createBus(await connectNats({ url: process.argv[2] ?? '', name: 'bench-noop-worker' }));
await definePipeline<SendEmail>({
  name: 'welcome_mailer',
  sources: [
    { stream: 'EMAILS_EXPRESS', consumer: 'welcome_mailer', weight: 4 },
    { stream: 'EMAILS', consumer: 'welcome_mailer', weight: 1 },
  ],
  decode: decoder(channels.sendWelcome),
  flow: { concurrency: 64 },
  handle: async ({ data: { jobId, replays }, attempt }, context) => {
    const result = create(EmailSentSchema, {
      jobId,
      replays,
      outcome: { case: 'succeeded', value: { messageId: 'none', provider: 'none', attempts: 1 } },
      finishedAt: timestampNow(),
      attempt,
    });
    context.emit(channels.emailSent.template, encode(channels.emailSent, result), {
      id: stepId(jobId, 'sent', replays),
    });
  },
}).start({ nats: bus.port, deps: undefined, log: silentLogger });
process.send?.('ready');
process.once('disconnect', () => process.exit(0));
