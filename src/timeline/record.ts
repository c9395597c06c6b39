import type { WatchEvent } from '../results/schema.ts'
import type { KubeObject } from '../stack/kube.ts'

interface PodLike {
  spec?: {
    nodeName?: string
    containers?: { resources?: { requests?: Record<string, string>; limits?: Record<string, string> } }[]
  }
  status?: { phase?: string; conditions?: { type: string; status: string }[] }
}
interface DeploymentLike {
  spec?: { replicas?: number }
  status?: { replicas?: number; readyReplicas?: number; updatedReplicas?: number }
}

/**
 * One watch change of the decode Deployment or of one of its pods, reduced to what the replica timeline and the GPU
 * account need. Everything else gives undefined. `at` is the receipt time on the runner, in ms.
 */
export function toWatchEvent(
  change: { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: KubeObject; at: number },
  deployment: string,
): WatchEvent | undefined {
  const { object, type, at } = change
  const { name } = object.metadata
  if (object.kind === 'Deployment') {
    if (name !== deployment) return undefined
    const { spec, status } = object as unknown as DeploymentLike
    return {
      at,
      kind: 'Deployment',
      type,
      name,
      desired: spec?.replicas ?? 1,
      replicas: status?.replicas ?? 0,
      ready: status?.readyReplicas ?? 0,
    }
  }
  if (object.kind !== 'Pod' || object.metadata.labels?.['llm-d.ai/role'] !== 'decode') return undefined
  const { spec, status } = object as unknown as PodLike
  return {
    at,
    kind: 'Pod',
    type,
    name,
    phase: status?.phase ?? 'Unknown',
    ready: status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') ?? false,
    gpus: podGpus(spec?.containers ?? []),
    deleting: object.metadata.deletionTimestamp !== undefined,
    ...(spec?.nodeName ? { nodeName: spec.nodeName } : {}),
  }
}

/** GPUs that a pod holds once it is bound: the sum over its containers, whatever the vendor. */
export function podGpus(
  containers: readonly { resources?: { requests?: Record<string, string>; limits?: Record<string, string> } }[],
): number {
  let gpus = 0
  for (const { resources } of containers) {
    for (const [key, amount] of Object.entries({ ...resources?.requests, ...resources?.limits })) {
      if (/\/gpu$/.test(key)) gpus += Number(amount) || 0
    }
  }
  return gpus
}
