import type { KubeObject } from '../../../src/stack/kube.ts'

export const acceleratorLabel = 'inference.optimization/acceleratorName'

export interface Condition {
  type: string
  status: string
  reason: string
  message: string
  lastTransitionTime: string
  observedGeneration?: number
}
export interface CurrentAlloc {
  accelerator: string
  numReplicas: number
  maxBatch: number
  variantCost: string
  itlAverage: string
  ttftAverage: string
  load: { arrivalRate: string; avgInputTokens: string; avgOutputTokens: string }
}
export interface VariantStatus {
  currentAlloc?: CurrentAlloc
  desiredOptimizedAlloc?: { accelerator: string; numReplicas: number; lastRunTime?: string }
  actuation?: { applied: boolean }
  conditions?: Condition[]
}
export type VariantAutoscaling = KubeObject & {
  spec: { modelID: string; variantCost?: string }
  status?: VariantStatus
}
export type ScaledDeployment = KubeObject & {
  spec: { replicas?: number; selector: { matchLabels?: Record<string, string> } }
  status?: { replicas?: number }
}

/** The variants of each model, wherever they are: the namespace is no part of the key. */
export function groupByModel(variants: readonly VariantAutoscaling[]): Map<string, VariantAutoscaling[]> {
  return Map.groupBy(variants, variant => variant.spec.modelID)
}

export const costOf = (variant: VariantAutoscaling): number => Number(variant.spec.variantCost ?? '10.0')

/** How many replicas a Deployment has, Pending pods included; what it asks for while it has none. */
export const replicasOf = ({ spec, status }: ScaledDeployment): number =>
  status?.replicas ? status.replicas : (spec.replicas ?? 1)

/** The moment as the API stores it: whole seconds. */
export const timestamp = (at: Date): string => at.toISOString().replace(/\.\d+Z$/, 'Z')

/**
 * The status after a decision. Only one condition is ever written; that metrics are available is computed by the real
 * controller and then lost.
 */
export function decidedStatus(
  variant: VariantAutoscaling,
  decision: { action: string; target: number; accelerator: string },
  currentAlloc: CurrentAlloc,
  at: Date,
): VariantStatus {
  const now = timestamp(at)
  const message = `Capacity-only decision: capacity-only mode: ${decision.action} (target: ${decision.target} replicas)`
  const old = variant.status?.conditions ?? []
  const before = old.find(c => c.type === 'OptimizationReady')
  const ready: Condition = {
    ...{ type: 'OptimizationReady', status: 'True', reason: 'CapacityOnlyMode', message },
    lastTransitionTime: before?.status === 'True' ? before.lastTransitionTime : now,
    ...(variant.metadata.generation === undefined ? {} : { observedGeneration: variant.metadata.generation }),
  }
  return {
    currentAlloc,
    desiredOptimizedAlloc: { numReplicas: decision.target, accelerator: decision.accelerator, lastRunTime: now },
    actuation: { applied: true },
    conditions: [...old.filter(c => c !== before), ready],
  }
}
