import { createClient, type Sluice } from '@sluice/client';
import type { Output } from './output.ts';
import { findTarget, type Target, type TargetSettings } from './target.ts';

/** What commands work with. */
export interface Context {
  readonly output: Output;
  /** The system that is meant; looked for at the first use, so that `completion` needs none. */
  readonly target: Target;
  readonly sluice: Sluice;
  readonly settings: TargetSettings;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Where paths that were typed begin. */
  readonly directory: string;
}

export function createContext(
  settings: TargetSettings,
  output: Output,
  { signal, directory }: Pick<Context, 'signal' | 'directory'>,
): Context {
  let target: Target | undefined;
  let sluice: Sluice | undefined;
  return {
    output,
    settings,
    signal,
    directory,
    get target() {
      return (target ??= findTarget(settings));
    },
    get sluice() {
      return (sluice ??= createClient({ baseUrl: this.target.url, apiKey: this.target.apiKey }));
    },
  };
}
