import { UserError } from '../errors.ts'
import { type KubeObject, simulatedLabel, stackLabel } from '../stack/kube.ts'

/** Label keys by which GPU operators and clouds name the model of a node's GPU. */
const acceleratorKeys = ['nvidia.com/gpu.product', 'gpu.nvidia.com/class', 'cloud.google.com/gke-accelerator']
const gpuResource = 'nvidia.com/gpu'

/**
 * The label that GPU nodes carry: the one asked for, which a node must have, or the first that is known.
 * @throws UserError GPU_SHORTAGE when no node qualifies. Without a list of nodes an explicit label is believed.
 */
export function pickAccelerator(
  nodes: readonly KubeObject[] | undefined,
  wanted: 'auto' | { key: string; value: string },
): { key: string; value: string } | undefined {
  if (nodes === undefined) return wanted === 'auto' ? undefined : wanted
  if (wanted !== 'auto') {
    if (nodes.some(n => n.metadata.labels?.[wanted.key] === wanted.value)) return wanted
    const values = [...new Set(nodes.flatMap(n => n.metadata.labels?.[wanted.key] ?? []))]
    throw new UserError('GPU_SHORTAGE', `No node carries the label ${wanted.key}=${wanted.value}.`, {
      why:
        values.length > 0
          ? `Nodes have ${wanted.key} with ${values.join(', ')}.`
          : `No node has the label ${wanted.key} at all.`,
      next: 'Correct the input `accelerator` (label-key:value), or leave it at auto.',
    })
  }
  for (const node of nodes) {
    for (const [key, value] of Object.entries(node.metadata.labels ?? {})) {
      if (value !== '' && acceleratorKeys.some(known => key.includes(known))) return { key, value }
    }
  }
  throw new UserError('GPU_SHORTAGE', 'No node of the cluster is known to have GPUs.', {
    why: `None of ${nodes.length} nodes carries a label like ${acceleratorKeys.join(', ')}.`,
    next: 'Install the GPU operator (it labels the nodes), or name the label with the input `accelerator` (label-key:value).',
  })
}

/** True when every node that takes pods carries the GPU label: helper pods have no other nodes to go to. */
export function onlyGpuNodes(
  nodes: readonly KubeObject[] | undefined,
  accelerator: { key: string } | undefined,
): boolean {
  if (nodes === undefined || accelerator === undefined) return false
  return nodes.filter(mayRunPods).every(n => n.metadata.labels?.[accelerator.key] !== undefined)
}

interface NodeSpec {
  readonly unschedulable?: boolean
  readonly taints?: readonly { readonly key?: string; readonly effect?: string }[]
}
/** Neither cordoned nor a control plane that keeps pods away. */
function mayRunPods(node: KubeObject): boolean {
  const spec = (node.spec ?? {}) as NodeSpec
  const closed = spec.taints?.some(
    t => t.effect === 'NoSchedule' && /^node-role\.kubernetes\.io\/(control-plane|master)$/.test(t.key ?? ''),
  )
  return spec.unschedulable !== true && closed !== true
}

/** True when any node says that the cluster is simulated: never taken from an input. */
export const isSimulated = (nodes: readonly KubeObject[] | undefined): boolean =>
  nodes?.some(n => n.metadata.labels?.[simulatedLabel] === 'true') ?? false

interface PodSpec {
  readonly nodeName?: string
  readonly containers?: readonly { readonly resources?: { readonly limits?: Readonly<Record<string, string>> } }[]
}

/** GPUs that a pod has taken: it is bound, and not finished. */
function gpusOf(pod: KubeObject): number {
  const phase = (pod.status as { phase?: string } | undefined)?.phase ?? ''
  if (['Succeeded', 'Failed'].includes(phase)) return 0
  const containers = (pod.spec as PodSpec | undefined)?.containers ?? []
  return containers.reduce((sum, c) => sum + (Number(c.resources?.limits?.[gpuResource]) || 0), 0)
}

/**
 * Whether the replicas fit on the nodes, node by node, right now. A sentence when not.
 * @param ownStack pods of this stack stand where the new ones will: they count as free.
 */
export function gpuFit(
  nodes: readonly KubeObject[],
  pods: readonly KubeObject[],
  gpusPerReplica: number,
  replicas: number,
  accelerator: { key: string; value: string } | undefined,
  ownStack?: string,
): { ok: true } | { ok: false; why: string } {
  const others = pods.filter(p => ownStack === undefined || p.metadata.labels?.[stackLabel] !== ownStack)
  let fits = 0
  const free: string[] = []
  for (const node of nodes) {
    const { name, labels } = node.metadata
    if (accelerator !== undefined && labels?.[accelerator.key] !== accelerator.value) continue
    const allocatable = (node.status as { allocatable?: Record<string, string> } | undefined)?.allocatable?.[
      gpuResource
    ]
    const total = Number(allocatable) || 0
    if (total === 0) continue
    if (!mayRunPods(node)) {
      free.push(`${name} closed to new pods`)
      continue
    }
    const taken = others
      .filter(p => (p.spec as PodSpec | undefined)?.nodeName === name)
      .reduce((sum, p) => sum + gpusOf(p), 0)
    const left = Math.max(0, total - taken)
    fits += Math.floor(left / gpusPerReplica)
    free.push(`${name} ${left} of ${total}`)
  }
  if (fits >= replicas) return { ok: true }
  return {
    ok: false,
    why: `${replicas} replicas x ${gpusPerReplica} GPU do not fit now; free: ${free.join(', ') || 'no node with GPUs matches'}. Waiting for GPUs or a new node.`,
  }
}

const defaultAnnotations = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
]

/**
 * The storage class for the weights: the one named, which must exist, or the one that the cluster marks as default.
 * @throws UserError PREFLIGHT. Without a list of classes the name is believed, and none leaves it to the cluster.
 */
export function defaultStorageClass(
  classes: readonly KubeObject[] | undefined,
  wanted: string | undefined,
): string | undefined {
  if (classes === undefined) return wanted
  const known = classes.map(c => c.metadata.name)
  if (wanted !== undefined) {
    if (known.includes(wanted)) return wanted
    throw new UserError('PREFLIGHT', `The storage class ${wanted} does not exist.`, {
      why: `The cluster has: ${known.join(', ') || 'none'}.`,
      next: 'Correct the input `storage-class`, or leave it empty for the default class.',
    })
  }
  // Of several defaults the newest counts, as for a claim that names no class.
  const [standard] = classes
    .filter(c => defaultAnnotations.some(a => c.metadata.annotations?.[a] === 'true'))
    .sort((a, b) => ((a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? 1 : -1))
  if (standard !== undefined) return standard.metadata.name
  throw new UserError('PREFLIGHT', 'The cluster has no default storage class.', {
    why: `None of ${known.join(', ') || 'no class at all'} carries the annotation storageclass.kubernetes.io/is-default-class: "true".`,
    next: 'Name one with the input `storage-class`, or put the weights on a claim and set model-source: pvc://CLAIM/PATH.',
  })
}
