import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Cluster, keyOf, ownerReference, splitKey, suffix } from './cluster.ts'
import { finished, isReady, matches, type Pod } from './objects.ts'

export interface ServicePort {
  name?: string
  port: number
  protocol?: string
  targetPort?: number | string
}
export type Service = KubeObject & {
  spec: {
    selector?: Record<string, string>
    ports?: ServicePort[]
    publishNotReadyAddresses?: boolean
    type?: string
    externalName?: string
  }
}
export type EndpointSlice = KubeObject & {
  endpoints: { addresses: string[]; conditions: { ready: boolean } }[]
  ports: { name: string; port: number }[]
}
export const serviceNameLabel = 'kubernetes.io/service-name'

/** Writes for every Service with a selector one EndpointSlice and one Endpoints object with the addresses of its pods. */
export function startEndpointsController(cluster: Cluster): void {
  const sync = cluster.queue(key => {
    const service = cluster.get<Service>('services', ...splitKey(key))
    if (service?.spec.selector === undefined || service.metadata.deletionTimestamp) return
    const selector = service.spec.selector
    const pods = cluster
      .list<Pod>('pods', service.metadata.namespace)
      .filter(p => p.status?.podIP !== undefined && !finished(p) && matches(p.metadata.labels, selector))
    write(cluster, service, pods)
  })
  cluster.watch(['services'], ({ type, object }) => {
    if (type !== 'DELETED') return sync(keyOf(object))
    const endpoints = cluster.get('endpoints', object.metadata.namespace, object.metadata.name)
    if (endpoints) cluster.remove(endpoints, 'endpoints')
  })
  cluster.watch(['pods'], ({ object, previous }) => {
    for (const service of cluster.list<Service>('services', object.metadata.namespace)) {
      const selector = service.spec.selector
      if (selector && [object, previous].some(o => o && matches(o.metadata.labels, selector))) sync(keyOf(service))
    }
  })
}

/** The number behind a Service's target port; a name is looked up in the pod. */
function resolvePort(port: ServicePort, pod: Pod | undefined): number | undefined {
  const target = port.targetPort ?? port.port
  if (typeof target === 'number') return target
  const all = [...(pod?.spec.containers ?? []), ...(pod?.spec.initContainers ?? [])].flatMap(c => c.ports ?? [])
  return all.find(p => p.name === target)?.containerPort
}

function write(cluster: Cluster, service: Service, pods: readonly Pod[]): void {
  const { namespace, name } = service.metadata
  const all = service.spec.publishNotReadyAddresses === true
  const entries = pods.map(pod => {
    const terminating = pod.metadata.deletionTimestamp !== undefined
    const serving = isReady(pod)
    const targetRef = { kind: 'Pod', name: pod.metadata.name, namespace, uid: pod.metadata.uid }
    return {
      pod,
      addresses: [pod.status?.podIP ?? ''],
      conditions: { ready: all || (serving && !terminating), serving, terminating },
      nodeName: pod.spec.nodeName,
      targetRef,
    }
  })
  const ports = (service.spec.ports ?? []).flatMap(p => {
    const port = resolvePort(p, pods[0])
    return port === undefined ? [] : [{ name: p.name ?? '', port, protocol: p.protocol ?? 'TCP' }]
  })
  const labels = {
    [serviceNameLabel]: name,
    'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
  }
  const endpoints = entries.map(({ pod: _pod, ...entry }) => entry)
  put(cluster, sliceOf(cluster, service), {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${suffix()}`,
      ...(namespace ? { namespace } : {}),
      labels,
      ownerReferences: [ownerReference(service)],
    },
    ...{ addressType: 'IPv4', endpoints, ports },
  })
  const addresses = (ready: boolean) =>
    entries
      .filter(e => e.conditions.ready === ready)
      .map(e => ({ ip: e.addresses[0], nodeName: e.nodeName, targetRef: e.targetRef }))
  const subset = {
    ...(addresses(true).length ? { addresses: addresses(true) } : {}),
    ...(addresses(false).length ? { notReadyAddresses: addresses(false) } : {}),
    ports,
  }
  put(cluster, cluster.get('endpoints', namespace, name), {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name, ...(namespace ? { namespace } : {}) },
    ...(entries.length > 0 ? { subsets: [subset] } : {}),
  })
}

/** The EndpointSlice of a Service. */
export const sliceOf = (cluster: Cluster, service: KubeObject): EndpointSlice | undefined =>
  cluster
    .list<EndpointSlice>('endpointslices.discovery.k8s.io', service.metadata.namespace)
    .find(s => s.metadata.labels?.[serviceNameLabel] === service.metadata.name)

function put(cluster: Cluster, live: KubeObject | undefined, wanted: KubeObject): void {
  const options = { manager: 'kube-controller-manager' }
  if (live === undefined) cluster.attempt(() => cluster.store.create(wanted, options))
  else cluster.attempt(() => cluster.store.update({ ...wanted, metadata: live.metadata }, options))
}
