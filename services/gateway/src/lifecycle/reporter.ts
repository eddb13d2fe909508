import { createLifecycle, type Lifecycle } from '@sluice/messaging';
import type { GatewayDependencies } from '../dependencies.ts';

/** Tells what this replica sees, in the name of `app`. */
export const reporterOf = (
  { bus, instance, log }: Pick<GatewayDependencies, 'bus' | 'instance' | 'log'>,
  app: string,
): Lifecycle =>
  createLifecycle(bus.port, {
    app,
    instance,
    onUnsent: (error) => log.warn({ err: error }, 'a lifecycle event cannot be written'),
  });
