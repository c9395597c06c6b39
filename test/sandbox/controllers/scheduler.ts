import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Cluster, keyOf, splitKey } from './cluster.ts'
import { finished, type NodeTerm, now, type Pod, quantity, requests, withCondition } from './objects.ts'

interface Taint {
  key: string
  value?: string
  effect: string
}
type Node = KubeObject & {
  spec?: { taints?: Taint[]; unschedulable?: boolean }
  status?: { allocatable?: Record<string, string> }
}

/** Why a pod does not fit, in the scheduler's own words; `resources` tells what preemption could have mended. */
interface Refusal {
  why: string[]
  resources: boolean
}

/** Puts pods on nodes: selector, affinity, taints, resources, claims; the node with the most room wins. */
export function startScheduler(cluster: Cluster, delayOf: (pod: Pod) => number): void {
  const due = new Map<string, number>()
  const schedule = cluster.queue(key => {
    const pod = cluster.get<Pod>('pods', ...splitKey(key))
    if (pod === undefined || !pending(pod)) return
    const at = due.get(pod.metadata.uid ?? '') ?? Date.now() + delayOf(pod)
    due.set(pod.metadata.uid ?? '', at)
    if (Date.now() < at) cluster.after(at - Date.now(), () => schedule(key))
    else place(cluster, key)
  })
  const again = () => {
    for (const pod of cluster.list<Pod>('pods')) if (pending(pod)) schedule(keyOf(pod))
  }
  cluster.watch(['pods'], ({ type, object }) => {
    const pod = object as Pod
    if (type === 'ADDED' && pending(pod)) schedule(keyOf(pod))
    // Room may have become free, or a gate may have been removed.
    else if (type === 'DELETED' || finished(pod) || (pending(pod) && !hasCondition(pod))) again()
  })
  cluster.watch(['nodes', 'persistentvolumeclaims'], again)
}

const pending = (pod: Pod): boolean =>
  !pod.spec.nodeName && !pod.metadata.deletionTimestamp && !pod.spec.schedulingGates?.length
const hasCondition = (pod: Pod): boolean => pod.status?.conditions?.some(c => c.type === 'PodScheduled') ?? false

function place(cluster: Cluster, key: string): void {
  const pod = cluster.get<Pod>('pods', ...splitKey(key))
  if (pod === undefined || !pending(pod)) return
  const nodes = cluster.list<Node>('nodes')
  const claims = claimState(cluster, pod)
  if (claims.refusal !== undefined) {
    refuse(cluster, pod, nodes.length, claims.refusal, nodes.length)
    return
  }
  const used = usage(cluster)
  const reasons = new Map<string, number>()
  let unhelpful = 0
  const fitting: { node: Node; score: number }[] = []
  for (const node of nodes) {
    const free = (resource: string) =>
      quantity(node.status?.allocatable?.[resource]) - (used.get(node.metadata.name)?.[resource] ?? 0)
    const refusal = refusalOf(pod, node, free)
    for (const why of refusal?.why ?? []) reasons.set(why, (reasons.get(why) ?? 0) + 1)
    if (refusal === undefined)
      fitting.push({ node, score: preference(pod, node) * 1e6 + free('nvidia.com/gpu') * 1e3 + free('cpu') })
    else if (!refusal.resources) unhelpful++
  }
  const best = fitting.sort((a, b) => b.score - a.score)[0]?.node
  if (best === undefined) {
    const text = [...reasons]
      .map(([why, count]) => `${count} ${why}`)
      .sort()
      .join(', ')
    refuse(cluster, pod, nodes.length, text || 'no nodes available to schedule pods', unhelpful)
    return
  }
  // The volume is made where its first consumer goes; the pod is bound when it is there.
  for (const claim of claims.waiting) {
    cluster.modify(claim, 'persistentvolumeclaims', draft => {
      draft.metadata.annotations = {
        ...draft.metadata.annotations,
        'volume.kubernetes.io/selected-node': best.metadata.name,
      }
    })
  }
  if (claims.waiting.length === 0) bind(cluster, pod, best.metadata.name)
}

function bind(cluster: Cluster, pod: Pod, node: string): void {
  cluster.modify(pod, 'pods', draft => {
    ;(draft as Pod).spec.nodeName = node
  })
  cluster.setStatus(
    pod,
    'pods',
    old => ({
      ...old,
      conditions: withCondition(old.conditions as undefined, { type: 'PodScheduled', status: 'True' }),
    }),
    'kube-scheduler',
  )
  const message = `Successfully assigned ${keyOf(pod)} to ${node}`
  cluster.event(pod, { type: 'Normal', reason: 'Scheduled', message, component: 'default-scheduler' })
}

function refuse(cluster: Cluster, pod: Pod, nodes: number, text: string, unhelpful: number): void {
  const outcome = [
    ...(unhelpful > 0 ? [`${unhelpful} Preemption is not helpful for scheduling`] : []),
    ...(nodes > unhelpful ? [`${nodes - unhelpful} No preemption victims found for incoming pod`] : []),
  ].join(', ')
  const message =
    nodes === 0
      ? text
      : `0/${nodes} nodes are available: ${text}. preemption: 0/${nodes} nodes are available: ${outcome}.`
  const before = pod.status?.conditions?.find(c => c.type === 'PodScheduled')
  if (before?.message === message) return
  const condition = {
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message,
    lastProbeTime: null,
  } as const
  cluster.setStatus(
    pod,
    'pods',
    old => ({ ...old, conditions: withCondition(old.conditions as undefined, condition) }),
    'kube-scheduler',
  )
  cluster.event(pod, { type: 'Warning', reason: 'FailedScheduling', message, component: 'default-scheduler' })
}

function claimState(cluster: Cluster, pod: Pod): { refusal?: string; waiting: KubeObject[] } {
  const waiting: KubeObject[] = []
  for (const volume of pod.spec.volumes ?? []) {
    const name = volume.persistentVolumeClaim?.claimName
    if (name === undefined) continue
    const claim = cluster.get('persistentvolumeclaims', pod.metadata.namespace, name)
    if (claim === undefined) return { refusal: `persistentvolumeclaim "${name}" not found`, waiting }
    if (claim.metadata.deletionTimestamp)
      return { refusal: `persistentvolumeclaim "${name}" is being deleted`, waiting }
    if ((claim.status as { phase?: string } | undefined)?.phase === 'Bound') continue
    const className = (claim.spec as { storageClassName?: string } | undefined)?.storageClassName
    const storageClass = cluster.get('storageclasses.storage.k8s.io', undefined, className ?? '')
    if (storageClass?.volumeBindingMode !== 'WaitForFirstConsumer')
      return { refusal: 'pod has unbound immediate PersistentVolumeClaims', waiting }
    waiting.push(claim)
  }
  return { waiting }
}

function usage(cluster: Cluster): Map<string, Record<string, number>> {
  const used = new Map<string, Record<string, number>>()
  for (const pod of cluster.list<Pod>('pods')) {
    if (!pod.spec.nodeName || finished(pod)) continue
    const sum = used.get(pod.spec.nodeName) ?? {}
    used.set(pod.spec.nodeName, sum)
    for (const [resource, amount] of Object.entries(requests(pod.spec))) sum[resource] = (sum[resource] ?? 0) + amount
  }
  return used
}

function refusalOf(pod: Pod, node: Node, free: (resource: string) => number): Refusal | undefined {
  if (node.spec?.unschedulable) return { why: ['node(s) were unschedulable'], resources: false }
  const taint = node.spec?.taints?.find(t => t.effect !== 'PreferNoSchedule' && !tolerates(pod, t))
  if (taint) return { why: [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`], resources: false }
  const labels = node.metadata.labels ?? {}
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  const selected = Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)
  if (!selected || (required && !required.nodeSelectorTerms.some(term => termMatches(term, labels)))) {
    return { why: ["node(s) didn't match Pod's node affinity/selector"], resources: false }
  }
  const short = Object.entries(requests(pod.spec)).filter(([resource, amount]) => amount > free(resource))
  return short.length === 0
    ? undefined
    : { why: short.map(([resource]) => `Insufficient ${resource}`), resources: true }
}

const tolerates = (pod: Pod, taint: Taint): boolean =>
  (pod.spec.tolerations ?? []).some(
    t =>
      (t.key === undefined ? t.operator === 'Exists' : t.key === taint.key) &&
      (t.effect === undefined || t.effect === taint.effect) &&
      (t.operator === 'Exists' || (t.value ?? '') === (taint.value ?? '')),
  )

function termMatches(term: NodeTerm, labels: Readonly<Record<string, string>>): boolean {
  return (term.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key]
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value)
      case 'NotIn':
        return value === undefined || !values.includes(value)
      case 'Exists':
        return value !== undefined
      case 'DoesNotExist':
        return value === undefined
      case 'Gt':
        return Number(value) > Number(values[0])
      case 'Lt':
        return Number(value) < Number(values[0])
      default:
        throw new Error(`unknown node selector operator ${operator}`)
    }
  })
}

const preference = (pod: Pod, node: Node): number =>
  (pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
    .filter(p => termMatches(p.preference, node.metadata.labels ?? {}))
    .reduce((sum, p) => sum + p.weight, 0)

/** A Node object as its kubelet registers it. Amounts are Kubernetes quantities. */
export function nodeObject(node: {
  name: string
  gpus?: number
  labels?: Record<string, string>
  taints?: Taint[]
  cpu?: string
  memory?: string
  address: string
}): KubeObject {
  const capacity = {
    ...{ cpu: node.cpu ?? '128', memory: node.memory ?? '1Ti', pods: '250', 'ephemeral-storage': '4Ti' },
    ...(node.gpus ? { 'nvidia.com/gpu': String(node.gpus) } : {}),
  }
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'KubeletReady',
    message: 'kubelet is posting ready status',
    lastTransitionTime: now(),
  }
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: node.name,
      labels: { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux', ...node.labels },
    },
    spec: node.taints ? { taints: node.taints } : {},
    status: {
      ...{
        capacity,
        allocatable: capacity,
        conditions: [ready],
        addresses: [{ type: 'InternalIP', address: node.address }],
      },
      nodeInfo: {
        kubeletVersion: 'v1.35.4',
        containerRuntimeVersion: 'sandbox://1',
        operatingSystem: 'linux',
        architecture: 'amd64',
      },
    },
  }
}
