import type { Job, JobKindName, RequestOf, ResultOf } from '@sluice/contracts';
import type { TProperties } from 'typebox';
import type { Step } from '../orchestrator/step.ts';

/** A result as the API shows it: fields, and lists of such. */
export type ResultView = Readonly<
  Record<string, string | number | boolean | readonly Readonly<Record<string, string | boolean>>[]>
>;

/** What the gateway does differently for jobs of one kind. Everything else about a kind stands in `@sluice/contracts`. */
export interface KindRules<Name extends JobKindName> {
  /** Credits for one job unless `CREDIT_PRICE_<KIND>` says otherwise. */
  readonly defaultPrice: number;
  /** The message that gives an accepted job to its service. */
  work(job: Job, request: RequestOf<Name>): Step;
  /** The fields of a result in the API, as properties of the schema of `Job.result`. */
  readonly resultFields: TProperties;
  /** A result as the API shows it: `resultFields`, 64-bit numbers as strings. */
  resultView(result: ResultOf<Name>): ResultView;
  /** The mail address that a job is about: what lists filter by and the limit per recipient counts. */
  recipient(request: RequestOf<Name>): string | undefined;
  /** The addresses that get a copy of what goes to `recipient`: limits and prices count each. */
  copies(request: RequestOf<Name>): readonly string[];
  /** Objects in the store that belong to the request and go when its job has ended. */
  uploads(request: RequestOf<Name>): readonly string[];
  /** Whether a job that succeeded has a PDF. */
  readonly hasPdf: boolean;
}
