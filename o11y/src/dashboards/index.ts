import type { Dashboard } from '../dashboard.ts';
import { email } from './email.ts';
import { image } from './image.ts';
import { jetstream } from './jetstream.ts';
import { logs } from './logs.ts';
import { node } from './node.ts';
import { overview } from './overview.ts';
import { pipelines } from './pipelines.ts';
import { services } from './services.ts';

/** A dashboard for each service that works on jobs. */
const work = {
  image,
  email,
};

/** Every dashboard, in the order of a look around. */
export const dashboards: readonly Dashboard[] = [
  overview,
  services,
  pipelines,
  jetstream,
  node,
  ...Object.values(work),
  logs,
];
