import { stringify } from 'yaml'

export type ReviewMode = 'standup' | 'run' | 'teardown'

interface Rule {
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly verbs: readonly string[]
}
const rule = (group: string, resource: string, verbs: string, subresource?: string): Rule => ({
  group,
  resource,
  verbs: verbs.split(' '),
  ...(subresource === undefined ? {} : { subresource }),
})

const manage = 'get list watch create patch delete'
const see = 'get list watch'
const clear = 'get list watch delete'

/**
 * What later kinds of legs leave behind: a teardown, and the post step of standup, look for them and delete them before
 * anything else.
 */
const scalers = (verbs: string): Rule[] => [
  rule('autoscaling', 'horizontalpodautoscalers', verbs),
  rule('llmd.ai', 'variantautoscalings', verbs),
  rule('monitoring.coreos.com', 'servicemonitors', verbs),
]

/**
 * Rights in the namespace, per mode: the table that preflight checks, the Role is printed from, and the docs show.
 * standup holds the rights of its post step too, which removes the stack, and every right that it grants to the endpoint
 * picker: a Role can only be made by who has its rights.
 */
export const rights: Readonly<Record<ReviewMode, readonly Rule[]>> = {
  standup: [
    rule('', 'configmaps', manage),
    rule('', 'services', manage),
    rule('', 'serviceaccounts', manage),
    rule('', 'secrets', 'get list create patch'),
    rule('', 'persistentvolumeclaims', 'get list watch create patch'),
    rule('', 'pods', 'get list watch create delete'),
    rule('', 'pods', 'get', 'log'),
    rule('', 'events', see),
    rule('apps', 'deployments', manage),
    rule('apps', 'replicasets', 'get list watch delete'),
    rule('batch', 'jobs', manage),
    rule('rbac.authorization.k8s.io', 'roles', manage),
    rule('rbac.authorization.k8s.io', 'rolebindings', manage),
    rule('gateway.networking.k8s.io', 'gateways', manage),
    rule('gateway.networking.k8s.io', 'httproutes', manage),
    rule('inference.networking.k8s.io', 'inferencepools', manage),
    rule('inference.networking.x-k8s.io', 'inferenceobjectives', see),
    rule('networking.istio.io', 'destinationrules', manage),
    ...scalers('get list delete'),
  ],
  run: [
    rule('', 'configmaps', 'get list create patch delete'),
    rule('', 'services', 'get list'),
    rule('', 'pods', manage),
    rule('', 'pods', 'get', 'log'),
    rule('', 'pods', 'get create', 'exec'),
    rule('', 'events', see),
    rule('apps', 'deployments', see),
    rule('gateway.networking.k8s.io', 'gateways', see),
  ],
  teardown: [
    rule('', 'configmaps', clear),
    rule('', 'services', clear),
    rule('', 'serviceaccounts', clear),
    rule('', 'secrets', clear),
    rule('', 'persistentvolumeclaims', clear),
    rule('', 'pods', clear),
    rule('apps', 'deployments', clear),
    rule('apps', 'replicasets', clear),
    rule('batch', 'jobs', clear),
    rule('rbac.authorization.k8s.io', 'roles', clear),
    rule('rbac.authorization.k8s.io', 'rolebindings', clear),
    rule('gateway.networking.k8s.io', 'gateways', clear),
    rule('gateway.networking.k8s.io', 'httproutes', clear),
    rule('inference.networking.k8s.io', 'inferencepools', clear),
    rule('networking.istio.io', 'destinationrules', clear),
    ...scalers(clear),
  ],
}

export interface Review {
  readonly group: string
  readonly resource: string
  readonly subresource?: string | undefined
  readonly verb: string
  readonly namespace?: string | undefined
}

/** One access review per right. */
export const neededReviews = (mode: ReviewMode, namespace: string): Review[] =>
  rights[mode].flatMap(r =>
    r.verbs.map(verb => ({ group: r.group, resource: r.resource, subresource: r.subresource, verb, namespace })),
  )

export const rightText = (r: Review): string =>
  `${r.verb} ${r.resource}${r.subresource === undefined ? '' : `/${r.subresource}`}${r.group === '' ? '' : `.${r.group}`} in ${r.namespace}`

const asPolicyRule = (r: Rule) => ({
  apiGroups: [r.group],
  resources: [r.subresource === undefined ? r.resource : `${r.resource}/${r.subresource}`],
  verbs: [...r.verbs],
})

/** The Role of a mode as YAML, for an administrator to apply. */
export function roleYaml(mode: ReviewMode, namespace: string): string {
  return stringify({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: `bench-${mode}`, namespace },
    rules: rights[mode].map(asPolicyRule),
  })
}

/** Cluster-wide reads that make the checks before a standup better; without one the check is left out or an input stands in. */
export const clusterReads: readonly (Rule & { readonly without: string })[] = [
  { ...rule('', 'nodes', 'get list'), without: 'the GPU label comes from `accelerator`, capacity is not checked' },
  { ...rule('', 'pods', 'list'), without: 'GPUs that other namespaces use count as free' },
  { ...rule('storage.k8s.io', 'storageclasses', 'get list'), without: 'the cluster picks its default class itself' },
  {
    ...rule('gateway.networking.k8s.io', 'gatewayclasses', 'get list'),
    without: 'a missing istio shows at the Gateway',
  },
  { ...rule('', 'namespaces', 'get'), without: 'the namespace must exist' },
]

/** The optional ClusterRole as YAML. */
export function clusterRoleYaml(): string {
  return stringify({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'bench-reader' },
    rules: clusterReads.map(asPolicyRule),
  })
}
