import { Priority, type ImageOptions, type ImageSource, type Job } from '@sluice/contracts';
import { Type, type Static } from 'typebox';
import { fits, pageOrders, pageOrientations, pageSizes, pdfStandards, qualities } from './accept/image-request.ts';

/** What a client asked for, in the words of the API: sent again, it makes the same job. */
export const JobRequestView = Type.Object(
  {
    path: Type.String({ description: 'The route that takes it.' }),
    query: Type.Record(Type.String(), Type.String(), { description: 'Options that are not the default.' }),
    json: Type.Optional(Type.Unknown({ description: 'The body, of a mail.' })),
    sources: Type.Optional(
      Type.Array(
        Type.Object(
          {
            mediaType: Type.String(),
            bytes: Type.Integer(),
            url: Type.Optional(Type.String({ description: 'Where the picture is fetched from; else it was sent.' })),
            fileName: Type.Optional(Type.String({ description: 'What its sender calls the file.' })),
          },
          { additionalProperties: false },
        ),
        { description: 'The pictures, of a conversion.' },
      ),
    ),
    metadata: Type.Optional(
      Type.Record(Type.String(), Type.String(), {
        description: 'The pairs of a conversion; a mail has them in `json`.',
      }),
    ),
    lacks: Type.Optional(
      Type.Array(Type.String(), {
        description: 'What is not told here, so that the request is not the same without: `attachments`.',
      }),
    ),
  },
  { $id: 'JobRequest', additionalProperties: false },
);
export type JobRequestView = Static<typeof JobRequestView>;

/** Undefined for a job of a kind that a newer version added. */
export function requestView(job: Job): JobRequestView | undefined {
  const work = job.request?.work;
  const common = {
    ...(job.priority === Priority.EXPRESS ? { priority: 'express' } : {}),
    ...(job.callbackUrl === '' ? {} : { callbackUrl: job.callbackUrl }),
  };
  const metadata = Object.keys(job.metadata).length === 0 ? {} : { metadata: job.metadata };
  if (work?.case === 'image') {
    const notify = {
      ...(job.notify === '' ? {} : { notify: job.notify }),
      ...(job.notifyAttach ? { notifyAttach: 'true' } : {}),
    };
    const { sources, options } = work.value;
    // Of addresses there may be fewer names than pictures, and then no name says of which it is.
    const names = job.fileNames.length === sources.length ? job.fileNames : [];
    return {
      path: '/v1/images',
      query: {
        ...common,
        ...notify,
        ...(names.length === 1 && names[0] !== undefined && names[0] !== '' ? { fileName: names[0] } : {}),
        ...optionsQuery(options),
      },
      sources: sources.map((source, index) => ({
        ...sourceView(source),
        ...((names[index] ?? '') === '' ? {} : { fileName: names[index] }),
      })),
      ...metadata,
    };
  }
  if (work?.case === 'email') {
    const { to, cc, bcc, template, variables, replyTo, headers, locale, attachments } = work.value;
    return {
      path: '/v1/emails',
      query: {},
      json: {
        to,
        ...(cc.length === 0 ? {} : { cc }),
        ...(bcc.length === 0 ? {} : { bcc }),
        template,
        ...(variables === undefined ? {} : { variables }),
        ...(replyTo === '' ? {} : { replyTo }),
        ...(Object.keys(headers).length === 0 ? {} : { headers }),
        ...(locale === '' ? {} : { locale }),
        ...metadata,
        ...common,
      },
      ...(attachments.length === 0 ? {} : { lacks: ['attachments'] }),
    };
  }
  return undefined;
}

const sourceView = ({ mediaType, sizeBytes, from }: ImageSource) => ({
  mediaType,
  bytes: from.case === 'content' ? from.value.length : Number(sizeBytes),
  ...(from.case === 'url' ? { url: from.value } : {}),
});

const nameOf = (names: Readonly<Record<string, number>>, value: number): string | undefined =>
  // The first name is that of the default.
  Object.entries(names).find(([, each], index) => each === value && index > 0)?.[0];

function optionsQuery(options: ImageOptions | undefined): Record<string, string> {
  if (options === undefined) return {};
  const all: Readonly<Record<string, string | undefined>> = {
    quality: nameOf(qualities, options.quality),
    pageSize: nameOf(pageSizes, options.pageSize),
    pageOrientation: nameOf(pageOrientations, options.pageOrientation),
    fit: nameOf(fits, options.fit),
    pageOrder: nameOf(pageOrders, options.pageOrder),
    standard: nameOf(pdfStandards, options.standard),
    maxWidth: options.maxWidth === 0 ? undefined : String(options.maxWidth),
    maxHeight: options.maxHeight === 0 ? undefined : String(options.maxHeight),
    stripMetadata: options.stripMetadata ? 'true' : undefined,
    marginMm: options.marginMm === 0 ? undefined : String(options.marginMm),
    picturesPerPage: options.picturesPerPage <= 1 ? undefined : String(options.picturesPerPage),
    title: options.title === '' ? undefined : options.title,
    author: options.author === '' ? undefined : options.author,
  };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
