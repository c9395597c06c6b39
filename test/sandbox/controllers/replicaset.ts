import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Cluster, keyOf, ownerReference, splitKey, suffix } from './cluster.ts'
import { controllerOf, finished, isReady, type Pod, type PodTemplate, type Selector } from './objects.ts'

export type ReplicaSet = KubeObject & {
  spec: { replicas: number; selector: Selector; template: PodTemplate }
  status?: {
    replicas?: number
    readyReplicas?: number
    availableReplicas?: number
    conditions?: { type: string; status: string; message?: string }[]
  }
}

/** The pods that `owner` controls, whatever their state. */
export const podsOf = (cluster: Cluster, owner: KubeObject): Pod[] =>
  cluster.list<Pod>('pods', owner.metadata.namespace).filter(p => controllerOf(p)?.uid === owner.metadata.uid)

/**
 * Creates a pod from a template. A pod whose ServiceAccount is missing is refused by admission, which the owner says in
 * an event and tries again when the account comes.
 * @returns the refusal, if any
 */
export function createPod(
  cluster: Cluster,
  owner: KubeObject,
  template: PodTemplate,
  component: string,
): string | undefined {
  const { namespace, name } = owner.metadata
  const account = template.spec.serviceAccountName ?? 'default'
  const podName = `${name}-${suffix()}`
  if (cluster.get('serviceaccounts', namespace, account) === undefined) {
    const refusal = `pods "${podName}" is forbidden: error looking up service account ${namespace}/${account}: serviceaccount "${account}" not found`
    cluster.event(owner, { type: 'Warning', reason: 'FailedCreate', message: `Error creating: ${refusal}`, component })
    return refusal
  }
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName,
      ...(namespace ? { namespace } : {}),
      ...(template.metadata?.labels ? { labels: template.metadata.labels } : {}),
      ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
      ownerReferences: [ownerReference(owner)],
    },
    spec: template.spec,
  }
  if (cluster.attempt(() => cluster.store.create(pod, { manager: 'kube-controller-manager' })) === undefined)
    return `pods "${podName}" was refused`
  cluster.event(owner, { type: 'Normal', reason: 'SuccessfulCreate', message: `Created pod: ${podName}`, component })
  return undefined
}

/** Keeps as many pods as each ReplicaSet asks for. */
export function startReplicaSetController(cluster: Cluster): void {
  const sync = cluster.queue(key => {
    const set = cluster.get<ReplicaSet>('replicasets.apps', ...splitKey(key))
    if (set === undefined || set.metadata.deletionTimestamp) return
    const active = podsOf(cluster, set).filter(p => !finished(p) && !p.metadata.deletionTimestamp)
    const missing = set.spec.replicas - active.length
    let refusal: string | undefined
    for (let i = 0; i < missing && refusal === undefined; i++) {
      refusal = createPod(cluster, set, set.spec.template, 'replicaset-controller')
    }
    if (missing < 0) for (const pod of leastUseful(active).slice(0, -missing)) cluster.remove(pod, 'pods')
    report(cluster, set, refusal)
  })
  cluster.watch(['replicasets.apps'], ({ object }) => sync(keyOf(object)))
  cluster.watch(['pods'], ({ object }) => {
    const owner = controllerOf(object)
    if (owner?.kind === 'ReplicaSet') sync(`${object.metadata.namespace}/${owner.name}`)
  })
  cluster.watch(['serviceaccounts'], ({ type, object }) => {
    if (type !== 'ADDED') return
    for (const set of cluster.list<ReplicaSet>('replicasets.apps', object.metadata.namespace)) sync(keyOf(set))
  })
}

/** Unscheduled pods go first, then those that are not ready, then the youngest. */
function leastUseful(pods: readonly Pod[]): Pod[] {
  const rank = (p: Pod) => (p.spec.nodeName ? 1 : 0) + (isReady(p) ? 2 : 0)
  const born = (p: Pod) => p.metadata.creationTimestamp ?? ''
  return [...pods].sort((a, b) => rank(a) - rank(b) || born(b).localeCompare(born(a)))
}

function report(cluster: Cluster, set: ReplicaSet, refusal: string | undefined): void {
  const pods = podsOf(cluster, set).filter(p => !finished(p) && !p.metadata.deletionTimestamp)
  const ready = pods.filter(isReady).length
  const failure = { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: refusal }
  const status = {
    ...{ observedGeneration: set.metadata.generation, replicas: pods.length },
    ...(ready > 0 ? { readyReplicas: ready, availableReplicas: ready } : {}),
    ...(refusal === undefined ? {} : { conditions: [failure] }),
  }
  cluster.setStatus(set, 'replicasets.apps', () => status, 'kube-controller-manager')
}
