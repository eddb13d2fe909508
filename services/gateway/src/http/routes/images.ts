import multipart from '@fastify/multipart';
import { imageMediaTypes, pageLimits, Priority, type ImageOptions } from '@sluice/contracts';
import type { FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import type { Acceptance, NewJob } from '../../jobs/accept/accept-job.ts';
import { callbackUrl } from '../../jobs/accept/callback-url.ts';
import { fileNameOf, labelLimits, metadataOfPairs } from '../../jobs/accept/labels.ts';
import { keyOf } from '../../jobs/accept/idempotency.ts';
import {
  fits,
  imageOptions,
  newImageJob,
  MAX_SIDE,
  notifyAddress,
  pageOrders,
  pageOrientations,
  pageSizes,
  pdfStandards,
  qualities,
  type TakenSource,
} from '../../jobs/accept/image-request.ts';
import { recipientCounter, type HeaderTarget } from '../../accounts/access.ts';
import { answerAccepted } from '../answer.ts';
import { traceOf, type App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { PrioritySchema } from '../../jobs/job-view.ts';
import { inMib } from '../../uploads/sizes.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { problemResponses } from '../problem.ts';
import { acceptSnakeCase, validationProblem } from '../validation.ts';
import { acceptPictures } from '../../uploads/accept-pictures.ts';
import { HEAD_BYTES, type Intake } from '../../uploads/take-source.ts';
import { urlSource } from '../../uploads/url-source.ts';
import { laneOf } from '../../admission/backpressure.ts';
import { acceptedResponses, acceptHeaders } from './accepted.ts';
import { MetadataPairs, MetadataSchema } from './metadata.ts';

const oneOf = <T extends Record<string, number>>(values: T, description: string) =>
  Type.Optional(Type.Unsafe<keyof T & string>(Type.String({ enum: Object.keys(values), description })));

export const ImageOptionsQuery = Type.Object(
  {
    quality: oneOf(qualities, '`auto`, the default: lossless, but JPEG 90 for sources that are lossy and no JPEG.'),
    maxWidth: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_SIDE, description: 'Pixels.' })),
    maxHeight: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_SIDE, description: 'Pixels.' })),
    stripMetadata: Type.Optional(
      Type.Boolean({
        description: 'Ignore the density of pictures, and keep nothing of a colour profile but what its colours are.',
      }),
    ),
    pageSize: oneOf(pageSizes, '`image`, the default: as large as the picture at its density. Or paper.'),
    pageOrientation: oneOf(
      pageOrientations,
      'Of paper. `auto`, the default: so that the first picture on it is largest.',
    ),
    marginMm: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: pageLimits.maxMarginMm,
        description: 'Millimetres that stay free at each edge of a page and between its pictures.',
      }),
    ),
    fit: oneOf(
      fits,
      'On paper. `contain`, the default: the whole picture, as large as it can be. `cover`: its place is filled, what stands out is cut off. `scale-down`: as large as its density says, made smaller where that is too large.',
    ),
    picturesPerPage: Type.Optional(
      Type.Unsafe<(typeof pageLimits.picturesPerPage)[number]>(
        Type.Integer({ enum: [...pageLimits.picturesPerPage], description: 'On paper, row by row.' }),
      ),
    ),
    pageOrder: oneOf(pageOrders, '`reversed`: the last page comes first.'),
    title: Type.Optional(Type.String({ maxLength: pageLimits.maxTextLength, description: 'Of the document.' })),
    author: Type.Optional(Type.String({ maxLength: pageLimits.maxTextLength, description: 'Of the document.' })),
    standard: oneOf(
      pdfStandards,
      '`pdfa-2b`: a PDF for archives. CMYK without a colour profile is refused then, as `unsupported_image`.',
    ),
    fileName: Type.Optional(
      Type.String({
        maxLength: labelLimits.fileNameLength,
        description: 'What you call the file: shown and searched. A part of a form and a URL bring theirs along.',
      }),
    ),
    metadata: Type.Optional(MetadataPairs),
    priority: Type.Optional(PrioritySchema),
    notify: Type.Optional(Type.String({ maxLength: 320, description: 'An address to mail when the PDF is there.' })),
    notifyAttach: Type.Optional(
      Type.Boolean({ description: 'Attach the PDF to the mail to `notify`, when it is at most 3 MB.' }),
    ),
    callbackUrl: Type.Optional(Type.String({ maxLength: 2_048, description: 'Called with the ended job.' })),
  },
  { additionalProperties: false },
);
export type ImageOptionsQuery = Static<typeof ImageOptionsQuery>;

/** The same in a JSON body. */
export const imageBodyFields = { ...ImageOptionsQuery.properties, metadata: Type.Optional(MetadataSchema) };
/** The options of a request, in a query, a form or a JSON body. */
export type ImageFields = Omit<ImageOptionsQuery, 'metadata'> & {
  metadata?: readonly string[] | Readonly<Record<string, string>>;
};

/** What an upload holds at most: its first bytes, a part that is being filled and one on its way to the store. */
const UPLOAD_HOLDS_BYTES = HEAD_BYTES + 2 * 8 * 2 ** 20;

const optionNames = new Set(Object.keys(ImageOptionsQuery.properties));
const binary = { schema: { type: 'string', format: 'binary' } };

/** `POST /v1/images`: one image as the body, or several as the parts of a form. */
export async function imageRoutes(app: App, deps: RouteDeps): Promise<void> {
  await app.register(async (scope: App) => {
    // Bodies stay streams here, under any content type: the bytes decide.
    scope.removeAllContentTypeParsers();
    await scope.register(multipart, {
      throwFileSizeLimit: false,
      limits: { fileSize: Infinity, files: deps.limits.maxFiles + 1, fields: 16, fieldSize: 4_096, headerPairs: 50 },
    });
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.post(
      '/v1/images',
      {
        schema: {
          operationId: 'convertImage',
          summary: 'Images to one PDF',
          description:
            'One image as the raw body, or `multipart/form-data` with one or more `file` parts: several files make one PDF, a page each, in order. Or `application/json` with a `url`, or `urls`: the pictures are fetched from there, over https from public addresses alone. Options travel as query or as fields of the form or of the JSON. Say `priority=express` in the query: a field is read after the check, which refuses while normal work is full.',
          tags: ['jobs'],
          headers: acceptHeaders,
          querystring: ImageOptionsQuery,
          response: {
            ...acceptedResponses,
            ...problemResponses(
              'payload_too_large',
              'unsupported_media_type',
              'corrupt_image',
              'request_in_progress',
              'idempotency_key_reused',
              'image_too_large',
              'insufficient_credits',
              'overloaded',
            ),
          },
        },
        config: {
          scope: 'jobs:write',
          limited: true,
          bodyHolds: UPLOAD_HOLDS_BYTES,
          requestBodies: {
            ...Object.fromEntries(Object.values(imageMediaTypes).map((type) => [type, binary])),
            'application/json': { schema: UrlsBody },
            'multipart/form-data': {
              schema: {
                type: 'object',
                properties: { file: { type: 'array', items: { type: 'string', format: 'binary' } } },
              },
            },
          },
        },
      },
      async (request, reply) => {
        deps.backpressure.check(laneOf('image', request.query.priority === 'express'));
        refuseDeclaredSize(request, deps.limits.maxBytes);
        const key = keyOf(request.headers['idempotency-key']);
        const acceptance = await deps.keys.hold(request.account.id, key, () => takeImages(deps, request, reply, key));
        return answerAccepted(deps, request, reply, acceptance);
      },
    );
  });
}

function takeImages(
  deps: RouteDeps,
  request: FastifyRequest<{ Querystring: ImageOptionsQuery }>,
  reply: HeaderTarget,
  key: string | undefined,
): Promise<Acceptance> {
  const account = request.account.id;
  const accept = { ...deps.accept, countRecipient: recipientCounter(deps.access, reply) };
  return acceptPictures({ ...deps, accept }, { account, key }, async (intake) => {
    checkOptions(request.query);
    const { fields, sources } = isJson(request)
      ? await takeUrls(request, deps)
      : {
          fields: request.isMultipart() ? await takeParts(request, intake) : await takeBody(request, intake),
          sources: intake.sources(),
        };
    return newJobOf({ ...request.query, ...fields }, sources, { account, trace: traceOf(request) });
  });
}

const isJson = (request: FastifyRequest): boolean =>
  /^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '');

const PageUrl = Type.String({ maxLength: 2_048, description: 'http or https, without credentials.' });
const UrlsBody = Type.Object(
  {
    url: Type.Optional(PageUrl),
    urls: Type.Optional(Type.Array(PageUrl, { minItems: 1, description: 'A page each, in order.' })),
    ...imageBodyFields,
  },
  { additionalProperties: false },
);
const MOST_JSON_BYTES = 256 * 1024;

/** Takes a JSON body that names pictures by their URLs. The image service fetches them. */
async function takeUrls(
  request: FastifyRequest,
  deps: RouteDeps,
): Promise<{ fields: ImageFields; sources: readonly TakenSource[] }> {
  const body = await jsonBody(request);
  const validate = request.compileValidationSchema(UrlsBody, 'body');
  if (!validate(body)) throw validationProblem(validate.errors ?? [], 'body');
  const { url, urls, ...fields } = body as Static<typeof UrlsBody>;
  if ((url === undefined) === (urls === undefined)) throw invalidField('/url', 'either url or urls must be given');
  const all = urls ?? [url ?? ''];
  if (all.length > deps.limits.maxFiles) throw invalidField('/urls', `has more than ${deps.limits.maxFiles} entries`);
  const sources = all.map((text, index) =>
    urlSource(text, urls ? `/urls/${index}` : '/url', deps.accept.targets ?? 'any'),
  );
  return { fields, sources };
}

async function jsonBody(request: FastifyRequest): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const body = request.raw[Symbol.asyncIterator]() as AsyncIterableIterator<Buffer>;
  // Not `for await`: leaving it early destroys the request, and with it the socket the answer is to go out on.
  for (let next = await body.next(); next.done !== true; next = await body.next()) {
    bytes += next.value.length;
    if (bytes > MOST_JSON_BYTES) {
      throw new GatewayError('payload_too_large', `A JSON body may have ${MOST_JSON_BYTES / 1024} KiB.`);
    }
    chunks.push(next.value);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch (error) {
    throw new GatewayError('invalid_request', 'The body is not JSON.', { cause: error });
  }
}

async function takeBody(request: FastifyRequest, intake: Intake): Promise<ImageOptionsQuery> {
  await intake.take(request.raw, undefined, { ownsChunks: true });
  return {};
}

/** Takes every file of the form in order and reads the other parts as options. */
async function takeParts(request: FastifyRequest, intake: Intake): Promise<ImageOptionsQuery> {
  const fields: Record<string, unknown> = {};
  let files = 0;
  try {
    for await (const part of request.parts()) {
      if (part.type === 'file') {
        files += 1;
        await intake.take(part.file, fileNameOf(part.filename));
      } else if (part.valueTruncated || typeof part.value !== 'string') {
        throw new GatewayError('invalid_request', `The field ${part.fieldname} is too long.`);
      } else {
        setField(fields, part.fieldname, part.value);
      }
    }
  } catch (error) {
    throw isBrokenForm(error)
      ? new GatewayError('invalid_request', `The form: ${error.message}.`, { cause: error })
      : error;
  }
  if (files === 0) {
    const errors = [{ pointer: '/file', detail: 'is missing' }];
    throw new GatewayError('invalid_request', 'The form has no file.', { errors });
  }
  acceptSnakeCase(fields, optionNames);
  const validate = request.compileValidationSchema(ImageOptionsQuery, 'querystring');
  if (!validate(fields)) {
    throw validationProblem(validate.errors ?? [], undefined);
  }
  return fields;
}

/** A field that a form may have several times is a list. */
function setField(fields: Record<string, unknown>, name: string, value: string): void {
  const before = fields[name];
  if (name !== 'metadata') fields[name] = value;
  else fields[name] = Array.isArray(before) ? [...(before as unknown[]), value] : [value];
}

/** What the parser of forms says of one that it cannot read: a bare `Error`, which nothing else here throws. */
const isBrokenForm = (error: unknown): error is Error =>
  error instanceof Error && Object.getPrototypeOf(error) === Error.prototype && !('code' in error);

/** What the text of the options shows to be wrong is refused before a byte of the body is stored. */
function checkOptions(query: ImageFields): void {
  notifyAddress(query.notify);
  callbackUrl(query.callbackUrl);
  optionsOf(query);
}

const optionsOf = (query: ImageFields): ImageOptions =>
  imageOptions(
    {
      quality: qualities[query.quality ?? 'auto'],
      pageSize: pageSizes[query.pageSize ?? 'image'],
      pageOrientation: pageOrientations[query.pageOrientation ?? 'auto'],
      marginMm: query.marginMm ?? 0,
      fit: fits[query.fit ?? 'contain'],
      picturesPerPage: query.picturesPerPage ?? 1,
      pageOrder: pageOrders[query.pageOrder ?? 'given'],
      title: query.title ?? '',
      author: query.author ?? '',
      standard: pdfStandards[query.standard ?? 'none'],
      maxWidth: query.maxWidth ?? 0,
      maxHeight: query.maxHeight ?? 0,
      stripMetadata: query.stripMetadata ?? false,
    },
    '',
  );

/** The job for stored sources with these options. */
export function newJobOf(
  query: ImageFields,
  sources: readonly TakenSource[],
  context: Pick<NewJob, 'account' | 'trace'>,
): NewJob {
  const options = optionsOf(query);
  const priority = query.priority === 'express' ? Priority.EXPRESS : Priority.NORMAL;
  const { callbackUrl, notify, notifyAttach, metadata } = query;
  const given = fileNameOf(query.fileName);
  const named = sources.map((source) => ({ ...source, fileName: source.fileName ?? given }));
  return newImageJob(
    { sources: named, options, priority, callbackUrl, notify, notifyAttach, metadata: metadataOf(metadata) },
    context,
  );
}

const metadataOf = (given: ImageFields['metadata']): Readonly<Record<string, string>> | undefined =>
  given === undefined || !Array.isArray(given)
    ? (given as Readonly<Record<string, string>> | undefined)
    : metadataOfPairs(given as string[], '/metadata');

function refuseDeclaredSize(request: FastifyRequest, maxBytes: number): void {
  // A form adds its boundaries and headers to the files it carries.
  const declared = Number(request.headers['content-length'] ?? 0);
  if (declared > maxBytes + 64 * 1024) {
    throw new GatewayError('payload_too_large', `A request may carry ${inMib(maxBytes)} of images.`);
  }
}
