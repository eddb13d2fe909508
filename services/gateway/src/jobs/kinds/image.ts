import { create } from '@bufbuild/protobuf';
import { channels, ConvertImageSchema, Priority } from '@sluice/contracts';
import { Type } from 'typebox';
import { step, workId } from '../orchestrator/step.ts';
import type { KindRules } from './kind.ts';

/** The object a job's PDF is written to. */
export const outputKey = (jobId: string): string => `pdf/${jobId}.pdf`;

/** Images to one PDF. */
export const imageKind: KindRules<'image'> = {
  defaultPrice: 1,
  work(job, { sources, options }) {
    const { id: jobId, replays } = job;
    const inline = sources.every((source) => source.from.case === 'content');
    const [normal, express] = inline
      ? [channels.convertBinary, channels.convertBinaryExpress]
      : [channels.convertUrl, channels.convertUrlExpress];
    const base = { jobId, sources, outputKey: outputKey(jobId), replays };
    const message = create(ConvertImageSchema, options === undefined ? base : { ...base, options });
    return step(job.priority === Priority.EXPRESS ? express : normal, message, workId(job));
  },
  resultFields: {
    pages: Type.Optional(Type.Integer({ description: 'image: of the PDF' })),
    width: Type.Optional(Type.Integer({ description: 'image: pixels of the first page as drawn' })),
    height: Type.Optional(Type.Integer({ description: 'image: the same' })),
    inputBytes: Type.Optional(Type.String({ description: 'image: a 64-bit number, which JSON carries as a string' })),
    outputBytes: Type.Optional(Type.String({ description: 'image: of the PDF' })),
    sha256: Type.Optional(Type.String({ description: 'image: of the PDF' })),
    path: Type.Optional(
      Type.String({ description: 'image: how the pixels travelled: passthrough, split, decode or mixed' }),
    ),
  },
  resultView: ({ pages, width, height, inputBytes, outputBytes, sha256, path }) => ({
    pages,
    width,
    height,
    inputBytes: `${inputBytes}`,
    outputBytes: `${outputBytes}`,
    sha256,
    path,
  }),
  recipient: () => undefined,
  copies: () => [],
  uploads: ({ sources }) =>
    sources.flatMap(({ from }) => (from.case === 'key' && from.value.startsWith('uploads/') ? [from.value] : [])),
  hasPdf: true,
};
