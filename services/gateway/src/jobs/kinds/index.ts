import { jobKindNames, type Job, type JobKindName, type JobRequest } from '@sluice/contracts';
import type { Step } from '../orchestrator/step.ts';
import { emailKind } from './email.ts';
import { imageKind } from './image.ts';
import type { KindRules, ResultView } from './kind.ts';

/** The rules of every kind. The compiler asks for an entry per kind of `@sluice/contracts`. */
export const kindRules: { readonly [Name in JobKindName]: KindRules<Name> } = {
  image: imageKind,
  email: emailKind,
};

/** Credits per job, by kind. */
export type Prices = Readonly<Record<JobKindName, number>>;

/** A price for every kind. */
export const pricesFrom = (priceOf: (name: JobKindName) => number): Prices =>
  Object.fromEntries(jobKindNames.map((name) => [name, priceOf(name)])) as Prices;

/** The address that a request is about, if any. */
export const recipientOf = (work: JobRequest['work'] | undefined): string | undefined =>
  work?.case === undefined ? undefined : rulesOf(work.case).recipient(work.value);

/** The addresses that get a copy of a mail that is asked for. */
export const copiesOf = (work: JobRequest['work'] | undefined): readonly string[] =>
  work?.case === undefined ? [] : rulesOf(work.case).copies(work.value);

/** The objects that a job's request put into the store. */
export function uploadsOf(job: Job): readonly string[] {
  const work = job.request?.work;
  return work?.case === undefined ? [] : rulesOf(work.case).uploads(work.value);
}

/** The work of a job; undefined when its request is of a kind that this version does not know. */
export function workOf(job: Job): Step | undefined {
  const work = job.request?.work;
  return work?.case === undefined ? undefined : rulesOf(work.case).work(job, work.value);
}

/** A job's result as the API shows it. */
export function resultView(job: Job): ResultView | undefined {
  const work = job.result?.work;
  return work?.case === undefined ? undefined : rulesOf(work.case).resultView(work.value);
}

// The case of a request and its value belong together; a lookup by a union of names has lost that.
const rulesOf = (name: JobKindName): KindRules<JobKindName> => kindRules[name] as unknown as KindRules<JobKindName>;
