import { create } from '@bufbuild/protobuf';
import { ImageSourceSchema } from '@sluice/contracts';
import { refusalOf, type Targets } from '@sluice/outbound';
import { invalidField } from '../errors.ts';
import { fileNameOf } from '../jobs/accept/labels.ts';
import type { TakenSource } from '../jobs/accept/image-request.ts';

/**
 * A picture that the image service fetches from a URL. Only its text is judged here: where a name leads is judged when
 * the connection is made.
 *
 * @param pointer where the URL stands in the request
 * @throws {GatewayError} `invalid_request`.
 */
export function urlSource(text: string, pointer: string, targets: Targets): TakenSource {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw invalidField(pointer, 'must be an http or https URL');
  if (url.username !== '' || url.password !== '') throw invalidField(pointer, 'must not carry credentials');
  const refusal = refusalOf(url, targets);
  if (refusal !== undefined) throw invalidField(pointer, refusal);
  const source = create(ImageSourceSchema, { from: { case: 'url', value: url.href } });
  return { source, sha256: `url:${url.href}`, fileName: fileNameOf(url.pathname) };
}
