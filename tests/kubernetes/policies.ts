import { selects, workloadsOf, type Container, type Manifest, type Workload } from './manifests.ts';

/** What a manifest must hold; each says what is wrong, with the name of the object. */
type Policy = (manifests: readonly Manifest[]) => readonly string[];

const nameOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`;
const ofKind = (manifests: readonly Manifest[], kind: string): Manifest[] =>
  manifests.filter((one) => one.kind === kind);
const eachContainer = (
  manifests: readonly Manifest[],
  check: (container: Container, workload: Workload) => readonly (string | false | undefined)[],
): string[] =>
  workloadsOf(manifests).flatMap((workload) =>
    workload.pod.containers.flatMap((container) =>
      check(container, workload)
        .filter((problem) => typeof problem === 'string')
        .map((problem) => `${nameOf(workload.object)}: ${problem}`),
    ),
  );

const restricted: Policy = (manifests) => {
  const pods = workloadsOf(manifests).flatMap(({ object, pod }) => {
    const security = (pod['securityContext'] ?? {}) as Record<string, unknown>;
    const problems = [
      security['runAsNonRoot'] !== true && 'may run as root',
      (security['seccompProfile'] as { type?: string } | undefined)?.type !== 'RuntimeDefault' &&
        'has no seccomp profile',
      pod['automountServiceAccountToken'] !== false && 'has a token for the API server',
      ['hostNetwork', 'hostPID', 'hostIPC'].some((key) => pod[key] === true) && 'shares a namespace of the node',
      (pod.volumes ?? []).some((volume) => 'hostPath' in volume) && 'mounts a path of the node',
    ];
    return problems.filter((problem) => problem !== false).map((problem) => `${nameOf(object)}: ${problem}`);
  });
  const containers = eachContainer(manifests, ({ securityContext = {} }) => [
    securityContext['allowPrivilegeEscalation'] !== false && 'may gain privileges',
    securityContext['readOnlyRootFilesystem'] !== true && 'can write to its root filesystem',
    securityContext['privileged'] === true && 'is privileged',
    !(securityContext['capabilities'] as { drop?: string[] } | undefined)?.drop?.includes('ALL') &&
      'keeps capabilities',
    'add' in ((securityContext['capabilities'] as object | undefined) ?? {}) && 'adds capabilities',
  ]);
  return [...pods, ...containers];
};

const pinned: Policy = (manifests) =>
  eachContainer(manifests, ({ image }) => [
    (!/(@sha256:[0-9a-f]{64}|:[^/:@]+)$/.test(image) || image.endsWith(':latest')) && `${image} is of no one version`,
  ]);

const bounded: Policy = (manifests) =>
  eachContainer(manifests, ({ resources }) => [
    (resources?.requests?.['cpu'] === undefined || resources.requests['memory'] === undefined) &&
      'asks for no CPU or memory',
    resources?.limits?.['memory'] !== resources?.requests?.['memory'] && 'has another limit of memory than it asks for',
  ]);

const probed: Policy = (manifests) =>
  eachContainer(manifests, (container, { object }) =>
    object.kind === 'Deployment'
      ? (['startupProbe', 'livenessProbe', 'readinessProbe'] as const).map(
          (probe) => container[probe] === undefined && `has no ${probe}`,
        )
      : [],
  );

const deployments = (manifests: readonly Manifest[]): Workload[] =>
  workloadsOf(manifests).filter(({ object }) => object.kind === 'Deployment');

const disruptable: Policy = (manifests) =>
  deployments(manifests).flatMap(({ object, labels, pod }) => {
    const budget = ofKind(manifests, 'PodDisruptionBudget').find(({ spec }) => selects(spec['selector'], labels));
    const drainMs = Number(pod.containers[0]?.env?.find(({ name }) => name === 'DRAIN_TIMEOUT_MS')?.value);
    const spread = (pod['topologySpreadConstraints'] ?? []) as readonly { labelSelector: unknown }[];
    const problems = [
      (budget?.spec['maxUnavailable'] ?? 0) !== 1 && 'has no disruption budget of one pod',
      !(Number(pod['terminationGracePeriodSeconds']) * 1000 > drainMs) && 'is killed before it may end its work',
      !(spread.length > 0 && spread.every(({ labelSelector }) => selects(labelSelector, labels))) && 'is not spread',
    ];
    return problems.filter((problem) => problem !== false).map((problem) => `${nameOf(object)}: ${problem}`);
  });

interface Rule {
  readonly from?: readonly object[];
  readonly to?: readonly object[];
  readonly ports?: readonly { readonly port?: number | string }[];
}
const isOpen = (rule: Rule, side: 'from' | 'to'): boolean =>
  (rule[side] ?? []).length === 0 ||
  (rule.ports ?? []).length === 0 ||
  (rule[side] ?? []).some((peer) =>
    Object.values(peer).every((selector) => Object.keys(selector as object).length === 0),
  );

const closed: Policy = (manifests) => {
  const policies = ofKind(manifests, 'NetworkPolicy');
  const pods = workloadsOf(manifests).flatMap(({ object, labels, pod }) => {
    const mine = policies.filter(({ spec }) => selects(spec['podSelector'], labels));
    const denies = (type: string): boolean =>
      mine.some(
        ({ spec }) => (spec['policyTypes'] as string[]).includes(type) && Array.isArray(spec[type.toLowerCase()] ?? []),
      );
    const ports = new Set(pod.containers.flatMap(({ ports: own = [] }) => own.map(({ name }) => name)));
    const reachable = mine.flatMap(({ spec }) =>
      ((spec['ingress'] ?? []) as Rule[]).flatMap((rule) => rule.ports ?? []),
    );
    const problems = [
      !(denies('Ingress') && denies('Egress')) && 'is open where no policy says otherwise',
      !mine.some(({ spec }) => spec['egress'] !== undefined) && 'can reach nothing, not even the broker',
      reachable.some(({ port }) => !ports.has(String(port))) && 'lets traffic in to a port that it has not',
    ];
    return problems.filter((problem) => problem !== false).map((problem) => `${nameOf(object)}: ${problem}`);
  });
  const open = policies.flatMap((policy) =>
    [
      ...((policy.spec['ingress'] ?? []) as Rule[]).map((rule) => isOpen(rule, 'from')),
      ...((policy.spec['egress'] ?? []) as Rule[]).map((rule) => isOpen(rule, 'to')),
    ]
      .filter(Boolean)
      .map(() => `${nameOf(policy)}: allows everyone, or every port`),
  );
  return [...pods, ...open];
};

const secretsByReference: Policy = (manifests) => [
  ...ofKind(manifests, 'Secret').map((secret) => `${nameOf(secret)}: a secret in a manifest`),
  ...eachContainer(manifests, ({ env = [] }) =>
    env.map(
      ({ name, value }) =>
        /SECRET|PASSWORD|SEED|PRIVATE_KEY|REDACTION_KEY|SMTP_URLS|READ_MODEL_URL/.test(name) &&
        !name.endsWith('_FILE') &&
        value !== undefined &&
        `${name} is in the environment`,
    ),
  ),
];

const scaled: Policy = (manifests) =>
  [...ofKind(manifests, 'ScaledObject'), ...ofKind(manifests, 'HorizontalPodAutoscaler')].flatMap((scaler) => {
    const { name } = scaler.spec['scaleTargetRef'] as { name: string };
    const target = ofKind(manifests, 'Deployment').find(({ metadata }) => metadata.name === name);
    const triggers = (scaler.spec['triggers'] ?? []) as readonly { type: string; metadata: Record<string, string> }[];
    const problems = [
      target === undefined && `scales ${name}, which is not there`,
      target?.spec['replicas'] !== undefined && `and ${name} both say how many replicas there are`,
      ...triggers.flatMap(({ type, metadata: { query = '', ignoreNullValues } }) => [
        (type !== 'prometheus' || ignoreNullValues !== 'false') && 'takes a missing consumer for one without work',
        !/pending_messages\{.*\+ \S*ack_pending_messages\{/s.test(query) && 'does not count pending and ack pending',
      ]),
      scaler.kind === 'ScaledObject' && scaler.spec['fallback'] === undefined && 'has no number of replicas for errors',
    ];
    return problems.filter((problem) => typeof problem === 'string').map((problem) => `${nameOf(scaler)}: ${problem}`);
  });

const selecting: Policy = (manifests) => {
  const workloads = workloadsOf(manifests);
  return [
    ...deployments(manifests)
      .filter(({ object, labels }) => !selects(object.spec['selector'], labels))
      .map(({ object }) => `${nameOf(object)}: does not select its own pods`),
    ...ofKind(manifests, 'Service').flatMap((service) => {
      const chosen = workloads.filter(({ labels }) => selects({ matchLabels: service.spec['selector'] }, labels));
      const ports = chosen.flatMap(({ pod }) =>
        pod.containers.flatMap(({ ports: own = [] }) => own.map(({ name }) => name)),
      );
      const wanted = (service.spec['ports'] as readonly { targetPort: string }[]).map(({ targetPort }) => targetPort);
      return [
        ...(chosen.length === 1 ? [] : [`${nameOf(service)}: selects pods of ${chosen.length} workloads`]),
        ...wanted
          .filter((port) => !ports.includes(port))
          .map((port) => `${nameOf(service)}: no pod has the port ${port}`),
      ];
    }),
  ];
};

/** By name, as a failure is to be found. */
export const policies: Readonly<Record<string, Policy>> = {
  restricted,
  pinned,
  bounded,
  probed,
  disruptable,
  closed,
  secretsByReference,
  scaled,
  selecting,
};

/** Everything that is wrong, each with its policy. */
export const problemsOf = (manifests: readonly Manifest[]): string[] =>
  Object.entries(policies).flatMap(([name, policy]) => policy(manifests).map((problem) => `${name}: ${problem}`));
