import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'

/** One resource type that the server serves. */
export interface ResourceKind {
  /** `pods`, `deployments.apps`: how the store and `kubectl` name it. Versions of one group share their objects. */
  id: string
  group: string
  versions: string[]
  kind: string
  plural: string
  singular: string
  shortNames: string[]
  namespaced: boolean
  hasStatus: boolean
  hasGeneration: boolean
  hasScale: boolean
  /** A PUT to a name that is not there creates, and one without a resource version is refused. */
  putCreates: boolean
  /** Built in, with a known set of fields; custom resources keep whatever they are given. */
  builtin: boolean
}

/** A custom resource definition in short; `status: false` for kinds without a status subresource. */
export interface CrdSpec {
  group: string
  version: string
  kind: string
  plural: string
  singular?: string
  namespaced: boolean
  status?: boolean
}

interface Definition {
  group: string
  scope: string
  names: { kind: string; plural: string; singular?: string }
  versions: { name: string; served?: boolean; subresources?: { status?: object } }[]
}

// group/version, kind, plural, C(luster) or N(amespaced), flags s(tatus) g(eneration) c(ale) p(ut creates), short names
const builtinTable = `
v1 Namespace namespaces C s ns
v1 Node nodes C s no
v1 PersistentVolume persistentvolumes C s pv
v1 Pod pods N sg po
v1 Service services N s svc
v1 Endpoints endpoints N - ep
v1 ConfigMap configmaps N - cm
v1 Secret secrets N -
v1 ServiceAccount serviceaccounts N - sa
v1 PersistentVolumeClaim persistentvolumeclaims N s pvc
v1 Event events N - ev
v1 ResourceQuota resourcequotas N s quota
v1 LimitRange limitranges N - limits
apps/v1 Deployment deployments N sgc deploy
apps/v1 ReplicaSet replicasets N sgc rs
apps/v1 StatefulSet statefulsets N sgc sts
batch/v1 Job jobs N sg
rbac.authorization.k8s.io/v1 Role roles N -
rbac.authorization.k8s.io/v1 RoleBinding rolebindings N -
rbac.authorization.k8s.io/v1 ClusterRole clusterroles C -
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings C -
storage.k8s.io/v1 StorageClass storageclasses C - sc
coordination.k8s.io/v1 Lease leases N p
discovery.k8s.io/v1 EndpointSlice endpointslices N g
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers N s hpa
apiregistration.k8s.io/v1 APIService apiservices C s
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions C sg crd`

const crd = (groupVersion: string, kind: string, plural: string, scope: 'N' | 'C' = 'N', status = true): CrdSpec => {
  const [group = '', version = ''] = groupVersion.split('/')
  return { group, version, kind, plural, namespaced: scope === 'N', status }
}

/** What a cluster has after the platform's own installation: Gateway API, inference extension, istio, monitoring, WVA. */
export const platformCrds: readonly CrdSpec[] = [
  crd('gateway.networking.k8s.io/v1', 'GatewayClass', 'gatewayclasses', 'C'),
  crd('gateway.networking.k8s.io/v1', 'Gateway', 'gateways'),
  crd('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes'),
  crd('gateway.networking.k8s.io/v1', 'GRPCRoute', 'grpcroutes'),
  crd('gateway.networking.k8s.io/v1beta1', 'ReferenceGrant', 'referencegrants', 'N', false),
  crd('inference.networking.k8s.io/v1', 'InferencePool', 'inferencepools'),
  crd('inference.networking.x-k8s.io/v1alpha2', 'InferencePool', 'inferencepools'),
  crd('inference.networking.x-k8s.io/v1alpha2', 'InferenceObjective', 'inferenceobjectives'),
  crd('inference.networking.x-k8s.io/v1alpha1', 'InferencePoolImport', 'inferencepoolimports'),
  crd('networking.istio.io/v1', 'DestinationRule', 'destinationrules'),
  crd('networking.istio.io/v1beta1', 'DestinationRule', 'destinationrules'),
  crd('monitoring.coreos.com/v1', 'ServiceMonitor', 'servicemonitors'),
  crd('monitoring.coreos.com/v1', 'PodMonitor', 'podmonitors'),
  crd('llmd.ai/v1alpha1', 'VariantAutoscaling', 'variantautoscalings'),
]

export const groupVersion = (group: string, version: string): string => (group === '' ? version : `${group}/${version}`)
export const splitApiVersion = (apiVersion: string): { group: string; version: string } => {
  const slash = apiVersion.indexOf('/')
  return { group: apiVersion.slice(0, Math.max(slash, 0)), version: apiVersion.slice(slash + 1) }
}
const idOf = (group: string, plural: string): string => (group === '' ? plural : `${plural}.${group}`)

/** The resource types of one server; CRDs come and go at run time. */
export class Registry {
  readonly #kinds = new Map<string, ResourceKind>()

  constructor(crds: readonly CrdSpec[]) {
    for (const line of builtinTable.trim().split('\n')) {
      const [apiVersion = '', kind = '', plural = '', scope, flags = '', ...shortNames] = line.split(' ')
      const { group, version } = splitApiVersion(apiVersion)
      this.#kinds.set(idOf(group, plural), {
        ...{
          id: idOf(group, plural),
          group,
          versions: [version],
          kind,
          plural,
          singular: kind.toLowerCase(),
          shortNames,
        },
        ...{ namespaced: scope === 'N', hasStatus: flags.includes('s'), hasGeneration: flags.includes('g') },
        ...{ hasScale: flags.includes('c'), putCreates: flags.includes('p'), builtin: true },
      })
    }
    for (const spec of crds) this.register(spec)
  }

  register(spec: CrdSpec): void {
    const id = idOf(spec.group, spec.plural)
    const known = this.#kinds.get(id)
    if (known?.builtin) throw new Error(`${id} is built in`)
    const versions = [...new Set([...(known?.versions ?? []), spec.version])]
    this.#kinds.set(id, {
      ...{ id, group: spec.group, versions, kind: spec.kind, plural: spec.plural, namespaced: spec.namespaced },
      ...{ singular: spec.singular ?? spec.kind.toLowerCase(), shortNames: [], hasStatus: spec.status ?? true },
      ...{ hasGeneration: true, hasScale: false, putCreates: false, builtin: false },
    })
  }

  /** Serves what a CustomResourceDefinition object names, and writes its status. */
  registerDefinition(object: KubeObject, at: string): void {
    const { group, scope, names, versions } = object.spec as Definition
    for (const version of versions.filter(v => v.served !== false)) {
      const status = version.subresources?.status !== undefined
      this.register({ ...names, group, version: version.name, namespaced: scope === 'Namespaced', status })
    }
    const [status, reason, message, lastTransitionTime] = ['True', 'NoConflicts', '', at]
    const conditions = ['NamesAccepted', 'Established'].map(type => ({
      type,
      status,
      reason,
      message,
      lastTransitionTime,
    }))
    object.status = { acceptedNames: names, conditions }
  }

  unregister(id: string): void {
    if (this.#kinds.get(id)?.builtin === false) this.#kinds.delete(id)
  }

  all(): ResourceKind[] {
    return [...this.#kinds.values()]
  }

  /** By `plural` or `plural.group`. */
  byId(id: string): ResourceKind {
    const found = this.#kinds.get(id)
    if (!found) throw new Error(`the server has no resource ${id}`)
    return found
  }

  find(group: string, version: string, plural: string): ResourceKind | undefined {
    const found = this.#kinds.get(idOf(group, plural))
    return found?.versions.includes(version) ? found : undefined
  }

  of(object: Pick<KubeObject, 'apiVersion' | 'kind'>): ResourceKind {
    const { group, version } = splitApiVersion(object.apiVersion ?? '')
    const found = this.all().find(k => k.group === group && k.kind === object.kind && k.versions.includes(version))
    if (!found) throw new ApiStatusError(404, `no matches for kind "${object.kind}" in version "${object.apiVersion}"`)
    return found
  }
}

export const notFound = (kind: ResourceKind, name: string): ApiStatusError =>
  new ApiStatusError(404, `${kind.id} "${name}" not found`, 'NotFound', detailsOf(kind, name))
/** What a Status says of the object it is about; of a collection it names none. */
export const detailsOf = (kind: Pick<ResourceKind, 'group' | 'plural'>, name: string) => ({
  ...(name === '' ? {} : { name }),
  ...(kind.group === '' ? {} : { group: kind.group }),
  kind: kind.plural,
})
