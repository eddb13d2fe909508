/** One broken rule. */
export interface Mutation {
  readonly file: string;
  readonly rule: string;
  readonly from: string;
  readonly to: string;
  /** Why no quick test can see it. */
  readonly survives?: string;
}
