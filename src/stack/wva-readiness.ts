import { conditionOf, conditionSentence, quoted, records } from './foreign.ts'
import type { KubeObject } from './kube.ts'
import type { Readiness } from './spec.ts'

// The chain from a loaded model server to a changed number of replicas, one sentence per link. Each looks at one link
// alone, so that the first that is not ready is the one that is broken.

const ready: Readiness = { state: 'ready' }
const waiting = (why: string): Readiness => ({ state: 'waiting', why })
const broken = (why: string, next: string, ...evidence: string[]): Readiness => ({
  state: 'failed',
  code: 'WVA_CHAIN',
  why,
  next,
  evidence,
})

interface ContainerStatus {
  readonly restartCount?: number
}
const restartsOf = (pods: readonly KubeObject[]): number =>
  pods
    .flatMap(p =>
      records<ContainerStatus>((p.status as { containerStatuses?: unknown } | undefined)?.containerStatuses),
    )
    .reduce((sum, c) => sum + (Number(c.restartCount) || 0), 0)

/** A second restart while we look: an unreachable Prometheus shows as a loop of restarts. */
const restartsThatCount = 2

/**
 * The controller's Deployment is available and its pods do not restart.
 * @param before restarts of its pods when we began to look
 */
export function controllerReadiness(
  live: KubeObject | undefined,
  pods: readonly KubeObject[],
  before: number,
): Readiness {
  if (live === undefined)
    return broken(
      'the Deployment of the WVA controller is gone',
      'Let a cluster administrator install it again (docs/platform.md).',
    )
  const grown = restartsOf(pods) - before
  if (grown >= restartsThatCount)
    return broken(
      `the WVA controller has restarted ${grown} times since`,
      'Look at its log for `Prometheus API validation failed`: it needs an https address of Prometheus and a CA file that it can read.',
    )
  const wanted = (live.spec as { replicas?: number } | undefined)?.replicas ?? 1
  const status = (live.status ?? {}) as { availableReplicas?: number }
  if (wanted > 0 && (status.availableReplicas ?? 0) > 0) return ready
  const why = wanted === 0 ? 'the WVA controller is scaled to 0' : 'no pod of the WVA controller is available'
  return waiting(why)
}

export const controllerRestarts = restartsOf

/** Gauges of one model server's own page. */
export interface ServerLoad {
  readonly waiting: number
  readonly running: number
  /** Share of the KV cache in use, 0 to 1. */
  readonly kvUsage: number
  /** Value of the label `model_name`. */
  readonly model: string
}

/** Reads the gauges that WVA decides by from a page in the Prometheus text format; undefined when one is missing. */
export function serverLoad(page: string): ServerLoad | undefined {
  const gauge = (name: string): { value: number; model: string } | undefined => {
    const match = new RegExp(`^vllm:${name}\\{([^}\\n]*)\\}[ \\t]+(\\S+)`, 'm').exec(page)
    const value = Number(match?.[2])
    if (match === null || !Number.isFinite(value) || value < 0) return undefined
    return { value, model: /model_name="((?:[^"\\]|\\.)*)"/.exec(match[1] ?? '')?.[1] ?? '' }
  }
  const waitingNow = gauge('num_requests_waiting')
  const running = gauge('num_requests_running')
  const kv = gauge('kv_cache_usage_perc')
  if (waitingNow === undefined || running === undefined || kv === undefined) return undefined
  return { waiting: waitingNow.value, running: running.value, kvUsage: Math.min(kv.value, 1.5), model: running.model }
}

/** Every model server shows the gauges that WVA reads, under the name that the VariantAutoscaling asks for. */
export function metricsReadiness(pages: ReadonlyMap<string, string | undefined>, model: string): Readiness {
  if (pages.size === 0) return waiting('no model server to read metrics from')
  for (const [pod, page] of pages) {
    if (page === undefined) return waiting(`the metrics of pod ${pod} cannot be read`)
    const load = serverLoad(page)
    if (load === undefined) return waiting(`pod ${pod} does not show the vllm gauges that WVA reads`)
    if (load.model !== model)
      return broken(
        `pod ${pod} names its model ${quoted(load.model, '(nothing)')} in its metrics, the VariantAutoscaling asks for ${model}`,
        'WVA finds no metrics under another name: check --served-model-name in plan.yaml.',
      )
  }
  return ready
}

interface VariantStatus {
  readonly desiredOptimizedAlloc?: { readonly numReplicas?: unknown; readonly lastRunTime?: unknown }
}

/** What WVA decided last: the number of replicas, and when (ms since the epoch, whole seconds). */
export function decisionOf(va: KubeObject | undefined): { desired: number; at: number } | undefined {
  const { desiredOptimizedAlloc } = (va?.status ?? {}) as VariantStatus
  const desired = Number(desiredOptimizedAlloc?.numReplicas)
  const at = Date.parse(String(desiredOptimizedAlloc?.lastRunTime ?? ''))
  return Number.isInteger(desired) && desired >= 0 && Number.isFinite(at) ? { desired, at } : undefined
}

/**
 * A decision younger than its VariantAutoscaling. Where there is none the sentence says what WVA would need to make one:
 * a Deployment of the same name, the accelerator label, metrics in its Prometheus.
 * @param age now on the server's clock, and how old a decision may be: WVA repeats it with every reconcile while it sees
 */
export function decisionReadiness(
  va: KubeObject | undefined,
  deployment: KubeObject | undefined,
  age?: { readonly nowMs: number; readonly maxMs: number },
): Readiness {
  if (va === undefined) return waiting('the VariantAutoscaling is not there')
  if (deployment === undefined || deployment.metadata.name !== va.metadata.name)
    return broken(
      `there is no Deployment ${va.metadata.name} for the VariantAutoscaling of that name`,
      'WVA 0.4.x binds the two by name; stand the stack up again.',
    )
  if ((va.metadata.labels?.['inference.optimization/acceleratorName'] ?? '').length < 2)
    return broken(
      'the VariantAutoscaling has no label inference.optimization/acceleratorName',
      'WVA skips a variant without it; stand the stack up again.',
    )
  const decision = decisionOf(va)
  const optimized = conditionOf(va, 'OptimizationReady')
  if (optimized?.status === 'False') return waiting(conditionSentence(optimized))
  if (decision === undefined)
    return waiting('WVA has not decided anything for it: it sees no metrics of the model servers')
  const created = Date.parse(va.metadata.creationTimestamp ?? '')
  if (Number.isFinite(created) && decision.at < created)
    return waiting(
      `the decision is from ${new Date(decision.at).toISOString()}, older than the VariantAutoscaling itself`,
    )
  if (age !== undefined && age.nowMs - decision.at > age.maxMs)
    return waiting(
      `the last decision is ${Math.round((age.nowMs - decision.at) / 1000)} s old: WVA does not see the metrics of the model servers any more`,
    )
  return ready
}

/** One answer of the external metrics API for a variant. */
export interface MetricAnswer {
  /** HTTP status. */
  readonly status: number
  readonly message: string
  readonly values: readonly number[]
}

/** A Kubernetes quantity of a metric: `2`, `1500m`, `2k`; NaN when it is none. */
export function metricValue(text: unknown): number {
  const match = /^(\d+(?:\.\d+)?(?:e\d+)?)(n|u|m|k|M|G)?$/.exec(String(text ?? ''))
  const scale: Record<string, number> = { n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9 }
  return match ? Number(match[1]) * (scale[match[2] ?? ''] ?? 1) : Number.NaN
}

/** The external metrics API serves one value for the variant, and it is what WVA decided. */
export function externalMetricReadiness(answer: MetricAnswer, desired: number): Readiness {
  if (answer.status === 503)
    return waiting(`the external metrics API is not available: ${quoted(answer.message, '503')}`)
  if (answer.status === 403)
    return broken(
      'this identity may not read the external metrics API',
      'Add the rule for external.metrics.k8s.io of docs/rbac.md.',
      answer.message,
    )
  if (answer.status === 404)
    return waiting(
      'the external metrics API does not know inferno_desired_replicas: its adapter has no rule or no series for it',
    )
  if (answer.status === 0)
    return waiting(`the external metrics API did not answer: ${quoted(answer.message, 'no reason')}`)
  if (answer.status !== 200)
    return waiting(`the external metrics API answered ${answer.status}: ${quoted(answer.message, 'no message')}`)
  if (answer.values.length === 0) return waiting('the external metrics API serves no value for the variant')
  if (answer.values.length > 1)
    return broken(
      `the external metrics API serves ${answer.values.length} values (${answer.values.slice(0, 5).join(', ')}) for one variant, and an HPA adds them up`,
      'Two WVA controllers, or two pods of one, publish the same series: remove one, and let the adapter take `max by (variant_name, exported_namespace)`.',
    )
  const [value] = answer.values
  if (value !== desired) return waiting(`the external metrics API still serves ${value}, WVA has decided ${desired}`)
  return ready
}

interface HpaStatus {
  readonly currentReplicas?: number
  readonly desiredReplicas?: number
  readonly currentMetrics?: unknown
}

/** The HPA acts on the metric. */
export function hpaReadiness(live: KubeObject | undefined): Readiness {
  if (live === undefined) return waiting('the HPA is not there')
  const able = conditionOf(live, 'AbleToScale')
  const active = conditionOf(live, 'ScalingActive')
  if (able?.status === 'False') return waiting(conditionSentence(able))
  if (active === undefined) return waiting('the HPA controller has not looked at it yet')
  if (active.status !== 'True') return waiting(conditionSentence(active))
  const { currentMetrics } = (live.status ?? {}) as HpaStatus
  const metrics = records<{ external?: { current?: { averageValue?: unknown; value?: unknown } } }>(currentMetrics)
  const current = metrics.map(m => m.external?.current?.averageValue ?? m.external?.current?.value)
  return current.some(v => v !== undefined) ? ready : waiting('the HPA has no current value of its metric')
}
