import type { KubeObject } from '../stack/kube.ts'

/** How one kind is addressed on the wire. */
export interface Resource {
  readonly apiVersion: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
}

const row = (apiVersion: string, kind: string, plural: string, namespaced = true): Resource => ({
  apiVersion,
  kind,
  plural,
  namespaced,
})

/** Every kind that this program reads or writes. A kind that is not here is never touched. */
export const resources = {
  Namespace: row('v1', 'Namespace', 'namespaces', false),
  Node: row('v1', 'Node', 'nodes', false),
  Pod: row('v1', 'Pod', 'pods'),
  ConfigMap: row('v1', 'ConfigMap', 'configmaps'),
  Secret: row('v1', 'Secret', 'secrets'),
  Service: row('v1', 'Service', 'services'),
  ServiceAccount: row('v1', 'ServiceAccount', 'serviceaccounts'),
  PersistentVolumeClaim: row('v1', 'PersistentVolumeClaim', 'persistentvolumeclaims'),
  Event: row('v1', 'Event', 'events'),
  Deployment: row('apps/v1', 'Deployment', 'deployments'),
  ReplicaSet: row('apps/v1', 'ReplicaSet', 'replicasets'),
  Job: row('batch/v1', 'Job', 'jobs'),
  Role: row('rbac.authorization.k8s.io/v1', 'Role', 'roles'),
  RoleBinding: row('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings'),
  Lease: row('coordination.k8s.io/v1', 'Lease', 'leases'),
  StorageClass: row('storage.k8s.io/v1', 'StorageClass', 'storageclasses', false),
  HorizontalPodAutoscaler: row('autoscaling/v2', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers'),
  VariantAutoscaling: row('llmd.ai/v1alpha1', 'VariantAutoscaling', 'variantautoscalings'),
  ServiceMonitor: row('monitoring.coreos.com/v1', 'ServiceMonitor', 'servicemonitors'),
  CustomResourceDefinition: row(
    'apiextensions.k8s.io/v1',
    'CustomResourceDefinition',
    'customresourcedefinitions',
    false,
  ),
  APIService: row('apiregistration.k8s.io/v1', 'APIService', 'apiservices', false),
  Gateway: row('gateway.networking.k8s.io/v1', 'Gateway', 'gateways'),
  GatewayClass: row('gateway.networking.k8s.io/v1', 'GatewayClass', 'gatewayclasses', false),
  HTTPRoute: row('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes'),
  InferencePool: row('inference.networking.k8s.io/v1', 'InferencePool', 'inferencepools'),
  InferenceModel: row('inference.networking.x-k8s.io/v1alpha2', 'InferenceModel', 'inferencemodels'),
  DestinationRule: row('networking.istio.io/v1beta1', 'DestinationRule', 'destinationrules'),
  Route: row('route.openshift.io/v1', 'Route', 'routes'),
} as const satisfies Record<string, Resource>
export type Kind = keyof typeof resources

/** `/api/v1` or `/apis/GROUP/VERSION`. */
export const groupPath = (apiVersion: string): string =>
  apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`

/** Path of a collection; a namespaced kind without a namespace means all namespaces. */
export function collectionPath(kind: Kind, namespace?: string): string {
  const r = resources[kind]
  const scope = r.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : ''
  return `${groupPath(r.apiVersion)}${scope}/${r.plural}`
}

export function objectPath(kind: Kind, namespace: string | undefined, name: string): string {
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`
}

/** The table's kind of an object, with the object's own apiVersion checked. */
export function kindOf(object: Pick<KubeObject, 'apiVersion' | 'kind'>): Kind {
  const known = resources[object.kind as Kind] as Resource | undefined
  if (known?.apiVersion !== object.apiVersion)
    throw new Error(`no resource entry for ${object.apiVersion} ${object.kind}`)
  return object.kind as Kind
}

/** `Deployment qwen-...-decode`, the way objects are named in logs and errors. */
export const describe = (o: Pick<KubeObject, 'kind' | 'metadata'>): string => `${o.kind} ${o.metadata.name}`
