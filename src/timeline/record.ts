import type { WatchEvent } from '../results/schema.ts'
import { conditionOf } from '../stack/foreign.ts'
import type { KubeObject } from '../stack/kube.ts'
import { decisionOf } from '../stack/wva-readiness.ts'

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
 * One watch change of the decode Deployment, of one of its pods or of its scalers, reduced to what the replica timeline and the GPU
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
  if (object.kind === 'VariantAutoscaling' && name === deployment) {
    const decision = decisionOf(object)
    return {
      at,
      kind: 'VariantAutoscaling',
      type,
      name,
      ...(decision === undefined ? {} : { desired: decision.desired, lastRun: decision.at / 1000 }),
    }
  }
  if (object.kind === 'HorizontalPodAutoscaler' && name === deployment) {
    const { currentReplicas, desiredReplicas } = (object.status ?? {}) as Partial<
      Record<'currentReplicas' | 'desiredReplicas', number>
    >
    const is = (condition: string) => conditionOf(object, condition)?.status === 'True'
    return {
      at,
      kind: 'HorizontalPodAutoscaler',
      type,
      name,
      current: currentReplicas ?? 0,
      desired: desiredReplicas ?? 0,
      active: is('ScalingActive'),
      limited: is('ScalingLimited'),
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
