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
 * What a leg under WVA leaves behind: a teardown, and the post step of standup, look for them and delete them before
 * anything else.
 */
const scalers = (verbs: string): Rule[] => [
  rule('autoscaling', 'horizontalpodautoscalers', verbs),
  rule('llmd.ai', 'variantautoscalings', verbs),
  rule('monitoring.coreos.com', 'servicemonitors', verbs),
]

/** The Lease that says whose a stack is. */
const lease = rule('coordination.k8s.io', 'leases', 'get list watch create update delete')

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
    lease,
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
    lease,
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
    lease,
    ...scalers(clear),
  ],
}

/** What a leg under WVA needs in the namespace besides. Every repeat makes HPA and VariantAutoscaling again. */
const scaling: readonly Rule[] = [
  rule('autoscaling', 'horizontalpodautoscalers', manage),
  rule('llmd.ai', 'variantautoscalings', manage),
  rule('apps', 'deployments', 'get patch', 'scale'),
  rule('', 'pods', 'get', 'proxy'),
  rule('external.metrics.k8s.io', 'inferno_desired_replicas', 'get list'),
]
export const wvaRights: Readonly<Record<ReviewMode, readonly Rule[]>> = {
  standup: [...scaling, rule('monitoring.coreos.com', 'servicemonitors', manage)],
  run: scaling,
  teardown: [],
}

/** What a leg under WVA needs in the namespace of the WVA controller: to see that it works, and to be the only one of its model. */
export const controllerRights: Readonly<Record<ReviewMode, readonly Rule[]>> = {
  standup: [
    rule('apps', 'deployments', 'get list'),
    rule('', 'pods', 'get list'),
    rule('', 'pods', 'get', 'log'),
    rule('', 'configmaps', 'get'),
    lease,
  ],
  run: [rule('apps', 'deployments', 'get list'), rule('', 'pods', 'get list'), rule('', 'configmaps', 'get'), lease],
  teardown: [lease],
}

export interface Review {
  readonly group: string
  readonly resource: string
  readonly subresource?: string | undefined
  readonly verb: string
  readonly namespace?: string | undefined
}

const reviews = (rules: readonly Rule[], namespace: string): Review[] =>
  rules.flatMap(r =>
    r.verbs.map(verb => ({ group: r.group, resource: r.resource, subresource: r.subresource, verb, namespace })),
  )

/** One access review per right in a namespace of the stack. */
export const neededReviews = (mode: ReviewMode, namespace: string, wva = false): Review[] =>
  reviews([...rights[mode], ...(wva ? wvaRights[mode] : [])], namespace)

/** The same for the namespace of the WVA controller. */
export const controllerReviews = (mode: ReviewMode, namespace: string): Review[] =>
  reviews(controllerRights[mode], namespace)

export const rightText = (r: Review): string =>
  `${r.verb} ${r.resource}${r.subresource === undefined ? '' : `/${r.subresource}`}${r.group === '' ? '' : `.${r.group}`} in ${r.namespace}`

const asPolicyRule = (r: Rule) => ({
  apiGroups: [r.group],
  resources: [r.subresource === undefined ? r.resource : `${r.resource}/${r.subresource}`],
  verbs: [...r.verbs],
})

const role = (name: string, namespace: string, rules: readonly Rule[]): string =>
  stringify({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name, namespace },
    rules: rules.map(asPolicyRule),
  })

/** The Role of a mode as YAML, for an administrator to apply. */
export const roleYaml = (mode: ReviewMode, namespace: string): string => role(`bench-${mode}`, namespace, rights[mode])

/** The Roles that a leg under WVA needs besides: in the namespace of the stack, and in that of the controller. */
export const wvaRoleYaml = (mode: ReviewMode, namespace: string, controllerNamespace: string): string =>
  [
    ...(wvaRights[mode].length > 0 ? [role(`bench-${mode}-wva`, namespace, wvaRights[mode])] : []),
    role(`bench-${mode}-wva`, controllerNamespace, controllerRights[mode]),
  ].join('---\n')

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
  {
    ...rule('apps', 'deployments', 'list'),
    without: 'WVA: the controller is looked for in `wva-namespace` alone, a second one is not seen',
  },
  {
    ...rule('llmd.ai', 'variantautoscalings', 'list'),
    without: 'WVA: the same model under WVA in another namespace is not seen',
  },
  {
    ...rule('apiregistration.k8s.io', 'apiservices', 'get'),
    without: 'WVA: who owns the external metrics API shows only when it does not answer',
  },
  {
    ...rule('apiextensions.k8s.io', 'customresourcedefinitions', 'get'),
    without: 'WVA: another generation is told by the image of its controller alone',
  },
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
