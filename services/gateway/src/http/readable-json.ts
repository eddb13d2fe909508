import type { App } from './app-type.ts';

/** Terminals and browsers, where a person reads the answer. */
const READER = /^(curl|wget|httpie|xh|mozilla)\b/i;

/** As Fastify names the type of nearly every answer. */
const USUAL = 'application/json; charset=utf-8';
const isJson = (type: unknown): boolean => type === USUAL || /json/.test(String(type));

/** Ends every JSON answer with a newline, and sets it out in lines where a person reads it. Programs get it compact. */
export function useReadableJson(app: App): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    if (typeof payload !== 'string' || !isJson(reply.getHeader('content-type'))) {
      done(null, payload);
      return;
    }
    const isRead = READER.test(request.headers['user-agent'] ?? '');
    reply.removeHeader('content-length');
    done(null, `${isRead ? JSON.stringify(JSON.parse(payload), null, 2) : payload}\n`);
  });
}
