import type { KubeClient } from '../client.ts'
import { analyze, type Decision, decide } from './decision.ts'
import { durationMs } from './durations.ts'
import type { Gauges } from './gauges.ts'
import { hasMetrics, measuredLoad, type Owner, replicaLoads } from './loads.ts'
import type { PrometheusClient } from './prometheus-client.ts'
import { thresholdsFor } from './thresholds.ts'
import {
  acceleratorLabel,
  type CurrentAlloc,
  costOf,
  decidedStatus,
  groupByModel,
  replicasOf,
  type ScaledDeployment,
  type VariantAutoscaling,
} from './variants.ts'

export const configName = 'workload-variant-autoscaler-variantautoscaling-config'
export const variantsPath = '/apis/llmd.ai/v1alpha1/variantautoscalings'

/** A variant with the Deployment of its name, and what the pass learned of it. */
interface Member {
  readonly va: VariantAutoscaling
  readonly deployment: ScaledDeployment | undefined
  currentAlloc: CurrentAlloc | undefined
}
export type Say = (level: 'info' | 'warn' | 'error', msg: string) => void

/** The reconcile loop of controller 0.4.2 in capacity mode: one pass over every variant of the cluster. */
export class Controller {
  readonly #client: KubeClient
  readonly #prometheus: PrometheusClient
  readonly #gauges: Gauges
  readonly #options: { readonly namespace: string; readonly window: string }
  readonly #say: Say

  constructor(
    client: KubeClient,
    prometheus: PrometheusClient,
    gauges: Gauges,
    options: { namespace: string; window: string },
    say: Say,
  ) {
    this.#client = client
    this.#prometheus = prometheus
    this.#gauges = gauges
    this.#options = options
    this.#say = say
  }

  /** Decides once. @returns milliseconds until the next pass, as the ConfigMap says now */
  async reconcile(): Promise<number> {
    const config = await this.#configMap(configName)
    if (config === undefined)
      throw new Error(`Unable to read optimization config: configmaps "${configName}" not found`)
    const intervalMs = durationMs(config.GLOBAL_OPT_INTERVAL || '60s')
    const { items } = await this.#client.list(variantsPath)
    const active = (items as VariantAutoscaling[]).filter(va => va.metadata.deletionTimestamp === undefined)
    if (active.length === 0) {
      this.#say('info', 'No active VariantAutoscalings found, skipping optimization')
      return intervalMs
    }
    const capacity = await this.#configMap('capacity-scaling-config')
    // By name alone: of two variants of one name in different namespaces, only one is ever written.
    const byName = new Map<string, Member>()
    const decided: (Decision & { accelerator: string })[] = []
    for (const [model, variants] of groupByModel(active)) {
      const members = await Promise.all(variants.map(va => this.#member(va)))
      for (const member of members) byName.set(member.va.metadata.name, member)
      try {
        decided.push(...(await this.#model(model, members, capacity)))
      } catch (error) {
        this.#say('error', `Capacity analysis failed for modelID=${model}: ${(error as Error).message}`)
      }
    }
    for (const decision of decided) await this.#apply(decision, byName.get(decision.variant)!)
    this.#say(
      'info',
      `Reconciliation completed: mode=capacity-only, variants=${active.length}, decisionsApplied=${decided.length}`,
    )
    return intervalMs
  }

  async #configMap(name: string): Promise<Record<string, string> | undefined> {
    const path = `/api/v1/namespaces/${this.#options.namespace}/configmaps/${name}`
    return (await this.#found(path))?.data as Record<string, string> | undefined
  }

  #found(path: string) {
    return this.#client.get(path).catch((error: { status?: number }) => {
      if (error.status === 404) return undefined
      throw error
    })
  }

  async #member(va: VariantAutoscaling): Promise<Member> {
    const { namespace, name } = va.metadata
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`
    const deployment = (await this.#found(path)) as ScaledDeployment | undefined
    return { va, deployment, currentAlloc: va.status?.currentAlloc }
  }

  async #model(
    model: string,
    members: readonly Member[],
    capacity: Record<string, string> | undefined,
  ): Promise<(Decision & { accelerator: string })[]> {
    for (const member of members) await this.#measure(member)
    // Metrics are asked for in the namespace of the first variant, also when others are elsewhere.
    const namespace = members[0]!.va.metadata.namespace!
    const owners = await Promise.all(members.flatMap(m => (m.deployment ? [this.#owner(m.deployment)] : [])))
    const { window } = this.#options
    const replicas = await replicaLoads(this.#prometheus, { model, namespace, window }, owners)
    if (replicas.length === 0) {
      this.#say('info', `No capacity metrics available for model, skipping analysis: modelID=${model}`)
      for (const member of members) this.#safetyNet(member)
      return []
    }
    const thresholds = thresholdsFor(capacity, model, namespace)
    const variants = members.map(({ va, deployment }) => ({
      ...{ name: va.metadata.name, cost: costOf(va) },
      current: deployment ? replicasOf(deployment) : (va.status?.currentAlloc?.numReplicas ?? 0),
      desired: va.status?.desiredOptimizedAlloc?.numReplicas ?? 0,
    }))
    const { nonSaturated, upReason, downSafe } = analyze(replicas, thresholds)
    const counts = `totalReplicas=${replicas.length}, nonSaturated=${nonSaturated}`
    this.#say(
      'info',
      `Capacity analysis completed: modelID=${model}, ${counts}, shouldScaleUp=${upReason !== undefined}, scaleDownSafe=${downSafe}`,
    )
    return decide(replicas, variants, thresholds).map(decision => {
      this.#explain(decision, variants.find(v => v.name === decision.variant)!.cost, upReason)
      const of = members.findLast(m => m.va.metadata.name === decision.variant)!
      return { ...decision, accelerator: of.va.metadata.labels?.[acceleratorLabel] ?? '' }
    })
  }

  async #owner({ metadata, spec }: ScaledDeployment): Promise<Owner> {
    const labelSelector = Object.entries(spec.selector.matchLabels ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join(',')
    const { items } = await this.#client.list(`/api/v1/namespaces/${metadata.namespace}/pods`, { labelSelector })
    return { name: metadata.name, pods: new Set(items.map(pod => pod.metadata.name)) }
  }

  /** Fills in what the status shows of the present; leaves it as it was when the gate does not open. */
  async #measure(member: Member): Promise<void> {
    const { va, deployment } = member
    const { name: variant, namespace = '', labels } = va.metadata
    const accelerator = labels?.[acceleratorLabel]
    if (!accelerator) return this.#say('warn', `Missing accelerator name label for VA, skipping: variant=${variant}`)
    if (deployment === undefined) return
    const model = va.spec.modelID
    if (!(await hasMetrics(this.#prometheus, model, namespace)))
      return this.#say('warn', `Metrics unavailable for VA, skipping: variant=${variant}, reason=MetricsMissing`)
    const numReplicas = deployment.spec.replicas ?? 1
    member.currentAlloc = {
      ...{ accelerator, numReplicas, maxBatch: 256, variantCost: (numReplicas * costOf(va)).toFixed(2) },
      ...(await measuredLoad(this.#prometheus, { model, namespace, window: this.#options.window })),
    }
  }

  #explain({ variant, target, current, ready, frozen }: Decision, cost: number, reason: string | undefined): void {
    if (frozen || target === ready) return
    const counts = `variant=${variant}, cost=${cost.toFixed(2)}, currentReplicas=${current}, readyReplicas=${ready}, target=${target}`
    this.#say(
      'info',
      target > ready
        ? `Capacity target: scale-up cheapest variant: ${counts}, reason=${reason}`
        : `Capacity target: scale-down most expensive variant: ${counts}`,
    )
  }

  async #apply(
    { variant, action, current, target, accelerator }: Decision & { accelerator: string },
    { va, deployment, currentAlloc }: Member,
  ): Promise<void> {
    this.#say('info', `Processing decision: variant=${variant}, action=${action}, current=${current}→target=${target}`)
    if (!currentAlloc?.accelerator || accelerator.length < 2)
      return this.#say('warn', `Skipping status update for VA without valid metrics or accelerator: variant=${variant}`)
    const { namespace = '' } = va.metadata
    const path = `/apis/llmd.ai/v1alpha1/namespaces/${namespace}/variantautoscalings/${variant}`
    const live = (await this.#found(path)) as VariantAutoscaling | undefined
    if (live === undefined) return this.#say('error', `failed to get latest VA from API server: name=${variant}`)
    const now = deployment?.status?.replicas ?? 0
    this.#gauges.emit({ variant, namespace, accelerator }, now, target)
    const status = decidedStatus(live, { action, target, accelerator }, currentAlloc, new Date())
    try {
      await this.#client.replace({ ...live, status }, 'status')
      this.#say('info', `Applied capacity decision: variant=${variant}, action=${action}, target=${target}`)
    } catch (error) {
      const why = (error as Error).message
      this.#say('error', `failed to update VA status after retries: name=${variant}, error=${why}`)
    }
  }

  /** Blind, it repeats what it last wanted, else what there is; the status stays as it was. */
  #safetyNet({ va, deployment }: Member): void {
    const { name: variant, namespace = '', labels } = va.metadata
    const before = va.status?.desiredOptimizedAlloc
    const accelerator = before?.accelerator || va.status?.currentAlloc?.accelerator || labels?.[acceleratorLabel]
    if (!accelerator || deployment === undefined) return
    const current = deployment.status?.replicas ?? 0
    const desired = before?.numReplicas || current
    this.#gauges.emit({ variant, namespace, accelerator }, current, desired)
    const source = before?.numReplicas ? 'previous-desired' : 'current-replicas'
    this.#say(
      'info',
      `Safety net activated: emitted fallback metrics: variant=${variant}, currentReplicas=${current}, desiredReplicas=${desired}, accelerator=${accelerator}, fallbackSource=${source}`,
    )
  }
}
