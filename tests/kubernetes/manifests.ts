import { parseAllDocuments } from 'yaml';

/** A Kubernetes object as the tests read it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Labels };
  spec: Record<string, unknown>;
}
export type Labels = Readonly<Record<string, string>>;

export interface Container {
  readonly name: string;
  image: string;
  readonly env?: { name: string; value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  securityContext?: Record<string, unknown>;
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  startupProbe?: object;
  livenessProbe?: object;
  readinessProbe?: object;
}

export interface PodSpec extends Record<string, unknown> {
  readonly containers: Container[];
  readonly volumes?: readonly Record<string, unknown>[];
}

/** Objects with pods, and these pods. */
export interface Workload {
  readonly object: Manifest;
  readonly labels: Labels;
  readonly pod: PodSpec;
}

/** The objects of rendered manifests. */
export const manifestsOf = (text: string): Manifest[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);

export function workloadsOf(manifests: readonly Manifest[]): Workload[] {
  return manifests
    .filter(({ kind }) => ['Deployment', 'Job', 'StatefulSet', 'DaemonSet', 'CronJob'].includes(kind))
    .map((object) => {
      const { template } = object.spec as { template: { metadata: { labels: Labels }; spec: PodSpec } };
      return { object, labels: template.metadata.labels, pod: template.spec };
    });
}

/** Whether a `matchLabels` selects these labels; an empty one selects all. */
export const selects = (selector: unknown, labels: Labels): boolean => {
  const { matchLabels = {} } = (selector ?? {}) as { matchLabels?: Labels };
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value);
};
