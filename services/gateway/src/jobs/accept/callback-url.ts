import { invalidField } from '../../errors.ts';

/**
 * A URL that a webhook may be sent to, as far as its text shows: http or https, no credentials, no fragment. Where it
 * leads is checked when the connection is made, because a name can point elsewhere by then.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function callbackUrl(text: string | undefined, pointer = '/callbackUrl'): string | undefined {
  if (text === undefined || text === '') return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const fits =
    url !== undefined &&
    text.length <= 2_048 &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username === '' &&
    url.password === '' &&
    url.hash === '';
  if (!fits) throw invalidField(pointer, 'must be an http or https URL without credentials or fragment');
  return url.href;
}
