import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Cluster, hashOf, keyOf, ownerReference, splitKey } from './cluster.ts'
import { type Condition, controllerOf, now, type PodTemplate, type Selector, withCondition } from './objects.ts'
import { podsOf, type ReplicaSet } from './replicaset.ts'

type Deployment = KubeObject & {
  spec: {
    replicas: number
    selector: Selector
    template: PodTemplate
    progressDeadlineSeconds?: number
    strategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
  }
  status?: { conditions?: Condition[]; updatedReplicas?: number; readyReplicas?: number }
}

const hashLabel = 'pod-template-hash'
const revisionAnnotation = 'deployment.kubernetes.io/revision'
const component = 'deployment-controller'

/** Rolls each Deployment's pods from one ReplicaSet to the next, as its strategy says, and reports its state. */
export function startDeploymentController(cluster: Cluster): void {
  const sync = cluster.queue(key => {
    const deployment = cluster.get<Deployment>('deployments.apps', ...splitKey(key))
    if (deployment === undefined || deployment.metadata.deletionTimestamp) return
    const owned = () =>
      cluster
        .list<ReplicaSet>('replicasets.apps', deployment.metadata.namespace)
        .filter(r => controllerOf(r)?.uid === deployment.metadata.uid)
    const name = `${deployment.metadata.name}-${hashOf(deployment.spec.template)}`
    if (!owned().some(r => r.metadata.name === name)) createSet(cluster, deployment, name, owned())
    const current = owned().find(r => r.metadata.name === name)
    if (current === undefined) return
    const old = owned().filter(r => r.metadata.name !== name)
    if (deployment.spec.strategy?.type === 'Recreate') recreate(cluster, deployment, current, old)
    else roll(cluster, deployment, current, old)
    report(cluster, deployment, name, owned(), () => sync(key))
  })
  cluster.watch(['deployments.apps'], ({ object }) => sync(keyOf(object)))
  cluster.watch(['replicasets.apps', 'pods'], ({ object }) => {
    const owner = controllerOf(object)
    if (owner?.kind === 'Deployment') sync(`${object.metadata.namespace}/${owner.name}`)
    // A pod that ended changes no count of its ReplicaSet, yet a Recreate waits for it.
    if (owner?.kind === 'ReplicaSet') {
      const set = cluster.get('replicasets.apps', object.metadata.namespace, owner.name)
      const above = set && controllerOf(set)
      if (above) sync(`${object.metadata.namespace}/${above.name}`)
    }
  })
}

function createSet(cluster: Cluster, deployment: Deployment, name: string, others: readonly ReplicaSet[]): void {
  const { namespace } = deployment.metadata
  const hash = name.slice(deployment.metadata.name.length + 1)
  const revision = String(
    1 + Math.max(0, ...others.map(r => Number(r.metadata.annotations?.[revisionAnnotation] ?? 0))),
  )
  const { template, selector } = deployment.spec
  const labels = { ...template.metadata?.labels, [hashLabel]: hash }
  const set: KubeObject = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name,
      ...(namespace ? { namespace } : {}),
      labels,
      annotations: { [revisionAnnotation]: revision },
      ownerReferences: [ownerReference(deployment)],
    },
    spec: {
      replicas: 0,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  }
  cluster.attempt(() => cluster.store.create(set, { manager: 'kube-controller-manager' }))
  cluster.modify(deployment, 'deployments.apps', draft => {
    draft.metadata.annotations = { ...draft.metadata.annotations, [revisionAnnotation]: revision }
  })
}

function scale(cluster: Cluster, deployment: Deployment, set: ReplicaSet, replicas: number): void {
  if (set.spec.replicas === replicas) return
  const verb = replicas > set.spec.replicas ? 'up' : 'down'
  const message = `Scaled ${verb} replica set ${set.metadata.name} from ${set.spec.replicas} to ${replicas}`
  cluster.modify(set, 'replicasets.apps', draft => {
    ;(draft as ReplicaSet).spec.replicas = replicas
  })
  cluster.event(deployment, { type: 'Normal', reason: 'ScalingReplicaSet', message, component })
}

function recreate(cluster: Cluster, deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): void {
  for (const set of old) scale(cluster, deployment, set, 0)
  const gone = old.every(set =>
    podsOf(cluster, set).every(p => p.status?.phase === 'Succeeded' || p.status?.phase === 'Failed'),
  )
  if (gone) scale(cluster, deployment, current, deployment.spec.replicas)
}

const share = (value: number | string | undefined, of: number, round: (x: number) => number): number =>
  typeof value === 'string' && value.endsWith('%') ? round((of * Number(value.slice(0, -1))) / 100) : Number(value ?? 0)

function roll(cluster: Cluster, deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): void {
  const wanted = deployment.spec.replicas
  const limits = deployment.spec.strategy?.rollingUpdate
  const surge = share(limits?.maxSurge, wanted, Math.ceil)
  const tolerated = share(limits?.maxUnavailable, wanted, Math.floor)
  const unavailable = Math.min(wanted, surge === 0 && tolerated === 0 ? 1 : tolerated)
  const oldTotal = old.reduce((sum, r) => sum + r.spec.replicas, 0)
  const next =
    current.spec.replicas > wanted
      ? wanted
      : Math.max(current.spec.replicas, Math.min(wanted, wanted + surge - oldTotal))
  scale(cluster, deployment, current, next)
  const available = (r: ReplicaSet) => Math.min(r.spec.replicas, r.status?.availableReplicas ?? 0)
  // First the old pods that serve nobody, then as many as the new ones have replaced.
  let removable = oldTotal + available(current) - Math.max(0, wanted - unavailable)
  let left = new Map(old.map(r => [r, r.spec.replicas]))
  const take = (spare: (r: ReplicaSet, now: number) => number) => {
    left = new Map(
      [...left].map(([set, replicas]) => {
        const cut = Math.max(0, Math.min(removable, spare(set, replicas)))
        removable -= cut
        return [set, replicas - cut]
      }),
    )
  }
  take((set, replicas) => replicas - available(set))
  take((_set, replicas) => replicas)
  for (const [set, replicas] of left) scale(cluster, deployment, set, replicas)
}

interface Counts {
  replicas: number
  updatedReplicas: number
  readyReplicas: number
  availableReplicas: number
}

function report(
  cluster: Cluster,
  deployment: Deployment,
  name: string,
  sets: readonly ReplicaSet[],
  later: () => void,
): void {
  const wanted = deployment.spec.replicas
  const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas') =>
    sets.reduce((n, r) => n + (r.status?.[field] ?? 0), 0)
  const updatedReplicas = sets.find(r => r.metadata.name === name)?.status?.replicas ?? 0
  const counts = {
    replicas: sum('replicas'),
    updatedReplicas,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: sum('availableReplicas'),
  }
  const { type, rollingUpdate } = deployment.spec.strategy ?? {}
  const tolerated = type === 'Recreate' ? 0 : share(rollingUpdate?.maxUnavailable, wanted, Math.floor)
  const enough = counts.availableReplicas >= wanted - tolerated
  let conditions = withCondition(deployment.status?.conditions, {
    type: 'Available',
    status: enough ? 'True' : 'False',
    reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    message: `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
  })
  const progressing = progress(deployment, name, counts)
  if (progressing.reason === 'ReplicaSetUpdated')
    cluster.after(Math.min(deadline(deployment) + 1000, 2 ** 31 - 1), later)
  conditions = withCondition(conditions, progressing).filter(c => c.type !== 'ReplicaFailure')
  const refusal = sets.flatMap(r => r.status?.conditions ?? []).find(c => c.type === 'ReplicaFailure')
  if (refusal)
    conditions = withCondition(conditions, {
      type: 'ReplicaFailure',
      status: 'True',
      reason: 'FailedCreate',
      message: refusal.message ?? '',
    })
  const unavailableReplicas = Math.max(0, wanted - counts.availableReplicas)
  const numbers = Object.fromEntries(Object.entries({ ...counts, unavailableReplicas }).filter(([, n]) => n > 0))
  const observedGeneration = deployment.metadata.generation
  cluster.setStatus(
    deployment,
    'deployments.apps',
    () => ({ observedGeneration, ...numbers, conditions }),
    'kube-controller-manager',
  )
}

const deadline = (deployment: Deployment): number => (deployment.spec.progressDeadlineSeconds ?? 600) * 1000

function progress(deployment: Deployment, name: string, counts: Counts): Condition {
  const before = deployment.status?.conditions?.find(c => c.type === 'Progressing')
  const wanted = deployment.spec.replicas
  const complete =
    counts.updatedReplicas === wanted && counts.replicas === wanted && counts.availableReplicas === wanted
  const done = `ReplicaSet "${name}" has successfully progressed.`
  // A rollout that is complete stays so when its pods fail later or their number changes.
  if (before?.message === done && counts.replicas === counts.updatedReplicas) return before
  if (complete)
    return {
      type: 'Progressing',
      status: 'True',
      reason: 'NewReplicaSetAvailable',
      message: done,
      lastUpdateTime: now(),
    }
  const moved =
    counts.updatedReplicas !== (deployment.status?.updatedReplicas ?? 0) ||
    counts.readyReplicas !== (deployment.status?.readyReplicas ?? 0)
  const fresh = moved || before === undefined || before.reason === 'NewReplicaSetAvailable'
  const lastUpdateTime = fresh ? now() : (before.lastUpdateTime ?? now())
  return Date.now() - Date.parse(lastUpdateTime) >= deadline(deployment)
    ? {
        type: 'Progressing',
        status: 'False',
        reason: 'ProgressDeadlineExceeded',
        message: `ReplicaSet "${name}" has timed out progressing.`,
        lastUpdateTime,
      }
    : {
        type: 'Progressing',
        status: 'True',
        reason: 'ReplicaSetUpdated',
        message: `ReplicaSet "${name}" is progressing.`,
        lastUpdateTime,
      }
}
