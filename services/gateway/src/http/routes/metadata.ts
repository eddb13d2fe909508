import { Type } from 'typebox';
import { labelLimits, METADATA_KEY } from '../../jobs/accept/labels.ts';

const { pairs, keyLength, valueLength } = labelLimits;

/** Pairs of the client's own, in a JSON body. */
export const MetadataSchema = Type.Record(Type.String(), Type.String({ maxLength: valueLength }), {
  description: `Pairs of your own, shown with the job and searched by: ${pairs} at most, keys of ${keyLength} and values of ${valueLength} characters. They change nothing; who may read the job reads them.`,
});

/** The same in a query or form. */
export const MetadataPairs = Type.Array(
  Type.String({ maxLength: keyLength + 1 + valueLength, pattern: `^${METADATA_KEY}:.+$` }),
  { maxItems: pairs, description: 'Pairs of your own, each `KEY:VALUE`; given once per pair.' },
);
