import { readUnsubscribeToken, type Suppressions } from '@sluice/suppression';
import { Type } from 'typebox';
import type { FastifyReply } from 'fastify';
import type { App } from '../app.ts';
import { problemResponses } from '../problem.ts';

export interface UnsubscribeDeps {
  readonly suppressions: Suppressions;
  /** What the tokens in the mails are signed with. */
  readonly secret: string;
}

const tags = ['mail'];
const Page = { content: { 'text/html': { schema: Type.String() } } };
const querystring = Type.Object({
  token: Type.String({ maxLength: 600, description: 'Stands for the address; from a List-Unsubscribe header.' }),
});

/**
 * Where the List-Unsubscribe header of a mail points. A POST unsubscribes at once, as RFC 8058 wants it of mail
 * programs: no page, no login, no cookie, no redirect. A GET changes nothing, because scanners of links send it too: it
 * shows a person a button that posts.
 */
export async function unsubscribeRoutes(app: App, { suppressions, secret }: UnsubscribeDeps): Promise<void> {
  await app.register((scoped, _options, done) => {
    // What the body says is not needed: the token says who. Mail programs post it as a form of either kind.
    for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data']) {
      scoped.addContentTypeParser(type, { parseAs: 'buffer', bodyLimit: 4_096 }, (_request, _body, parsed) =>
        parsed(null, undefined),
      );
    }
    const config = { scope: 'public' } as const;
    scoped.get<{ Querystring: { token: string } }>(
      '/v1/unsubscribe',
      {
        config,
        schema: {
          operationId: 'showUnsubscribe',
          summary: 'A page that asks whether to send no more recurring mail',
          tags,
          querystring,
          response: { 200: { ...Page, description: 'The page.' }, 404: { ...Page, description: 'A link of no mail.' } },
        },
      },
      async ({ query }, reply) => {
        if (readUnsubscribeToken(query.token, secret) === undefined) return notOurs(reply);
        // Posts to where it came from: a proxy may have put a path in front.
        return page(
          reply,
          'Stop these notifications?',
          '<p>You will get no more recurring mails at this address. Mails about what you do yourself still come.</p>' +
            '<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>',
        );
      },
    );
    scoped.post<{ Querystring: { token: string } }>(
      '/v1/unsubscribe',
      {
        config: { ...config, anyOrigin: true },
        schema: {
          operationId: 'unsubscribe',
          summary: 'Send no more recurring mail to the address of a token (RFC 8058)',
          tags,
          querystring,
          response: {
            200: { ...Page, description: 'Done; also when it was done before.' },
            404: { ...Page, description: 'A link of no mail.' },
            ...problemResponses('payload_too_large'),
          },
        },
      },
      async ({ query }, reply) => {
        const address = readUnsubscribeToken(query.token, secret);
        if (address === undefined) return notOurs(reply);
        await suppressions.add(address, 'unsubscribe');
        return page(reply, 'You are unsubscribed', '<p>No more recurring mails will be sent to this address.</p>');
      },
    );
    done();
  });
}

const notOurs = (reply: FastifyReply): FastifyReply =>
  page(
    reply.code(404),
    'This link does not work',
    '<p>It may have been cut off. Copy all of it from the mail, or answer the mail instead.</p>',
  );

function page(reply: FastifyReply, title: string, body: string): FastifyReply {
  return reply.headers({
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'content-security-policy':
      "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
  }).send(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="robots" content="noindex">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title>
<style>
  :root { color-scheme: light dark }
  body { font: 17px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 12vh auto; padding: 0 1.5rem }
  button { font: inherit; padding: .6rem 1.4rem; border: 0; border-radius: 8px; background: #2f54eb; color: #fff; cursor: pointer }
</style>
<h1>${title}</h1>${body}</html>
`);
}
