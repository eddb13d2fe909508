import { Type } from 'typebox';
import { MAX_REPORT_BYTES, takeReport, type BounceDeps, type Taken } from '../../bounces/take-report.ts';
import type { App } from '../app.ts';
import { problemResponses } from '../problem.ts';

/** `POST /v1/mail-reports`: bounces and complaints, as the mail server that gets them passes them on. */
export async function bounceRoutes(app: App, deps: BounceDeps): Promise<void> {
  await app.register((scoped, _options, done) => {
    scoped.addContentTypeParser('message/rfc822', { parseAs: 'buffer' }, (_request, body, parsed) =>
      parsed(null, body),
    );
    scoped.post<{ Body: Buffer; Querystring: { recipient?: string } }>(
      '/v1/mail-reports',
      {
        config: { scope: 'mail:reports', bodyHolds: MAX_REPORT_BYTES },
        bodyLimit: MAX_REPORT_BYTES,
        schema: {
          operationId: 'takeMailReport',
          summary: 'Take a bounce (RFC 3464) or a complaint (RFC 5965), as the whole mail that came',
          description:
            'Counts when it carries the signed return address of a mail of ours. What is no report, or about no such mail, is answered with `ignored` and changes nothing.',
          tags: ['mail'],
          consumes: ['message/rfc822'],
          querystring: Type.Object(
            {
              recipient: Type.Optional(
                Type.String({ maxLength: 320, description: 'The address that the report was sent to.' }),
              ),
            },
            { additionalProperties: false },
          ),
          response: {
            202: Type.Object(
              {
                taken: Type.Unsafe<Taken>(Type.String({ enum: ['bounce', 'complaint', 'ignored'] })),
              },
              { description: 'What it was.', additionalProperties: false },
            ),
            ...problemResponses('payload_too_large', 'unsupported_media_type', 'job_not_finished'),
          },
        },
      },
      async ({ body, query }, reply) => {
        const taken = await takeReport(deps, body, query.recipient);
        reply.code(202);
        return { taken };
      },
    );
    done();
  });
}
