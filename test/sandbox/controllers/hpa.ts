import type { KubeObject } from '../../../src/stack/kube.ts'
import { splitApiVersion } from '../api/kinds.ts'
import { labelSelector } from '../api/selectors.ts'
import { type KubeClient, KubeError } from '../client.ts'
import { type Cluster, keyOf, splitKey } from './cluster.ts'
import { externalMetric, type MetricIdentifier, milli, milliText, selectorText } from './external-metrics.ts'
import { type Condition, isReady, now, type Pod, quantity, withCondition } from './objects.ts'
import {
  type Behavior,
  decide,
  firstHistory,
  type History,
  perPodReplicas,
  rescaled,
  type Tolerance,
  valueReplicas,
} from './scaling.ts'

interface MetricSpec {
  type: string
  external?: { metric: MetricIdentifier; target: { type: string; value?: string; averageValue?: string } }
  resource?: { name: string }
  pods?: { metric: MetricIdentifier }
  object?: { metric: MetricIdentifier }
}
type Autoscaler = KubeObject & {
  spec: {
    scaleTargetRef: { apiVersion?: string; kind: string; name: string }
    minReplicas?: number
    maxReplicas: number
    metrics?: MetricSpec[]
    behavior?: Behavior
  }
  status?: { conditions?: Condition[]; desiredReplicas?: number; lastScaleTime?: string }
}
type Scale = KubeObject & { spec: { replicas: number }; status: { replicas: number; selector: string } }

const resource = 'horizontalpodautoscalers.autoscaling'
const component = 'horizontal-pod-autoscaler'

/** What the controller's ServiceAccount may do, as a cluster grants it at bootstrap. */
export const hpaRules = [
  {
    apiGroups: ['*'],
    resources: ['deployments/scale', 'replicasets/scale', 'statefulsets/scale'],
    verbs: ['get', 'update'],
  },
  { apiGroups: ['external.metrics.k8s.io'], resources: ['*'], verbs: ['get', 'list'] },
]

/**
 * Scales the target of every HorizontalPodAutoscaler (autoscaling/v2) by its External metrics; other metrics fail as in
 * a cluster that does not have them. As in a real cluster, an autoscaler waits one period for its first sync, and its
 * history goes by its name: one that is made again before the sync that would miss it goes on with the old history.
 * @param client reads the metrics and the scale, and writes the scale
 * @param syncMs from the end of one sync of an autoscaler to its next
 */
export function startHpaController(cluster: Cluster, client: KubeClient, syncMs: number): void {
  const waiting = new Set<string>()
  const histories = new Map<string, History>()
  const enqueue = (key: string): void => {
    if (waiting.has(key)) return
    waiting.add(key)
    cluster.after(syncMs, () => {
      waiting.delete(key)
      const hpa = cluster.get<Autoscaler>(resource, ...splitKey(key))
      if (!hpa) return void histories.delete(key)
      const keep = (history: History) => void histories.set(key, history)
      new Sync(cluster, client, hpa, histories.get(key), keep)
        .run()
        .catch(error =>
          cluster.guard(() => {
            throw error
          }),
        )
        .finally(() => enqueue(key))
    })
  }
  cluster.watch([resource], ({ type, object }) => {
    if (type !== 'DELETED') enqueue(keyOf(object))
  })
}

/** Metrics that cannot be had, with the condition that says so. */
class MetricsError extends Error {
  readonly condition: Condition
  constructor(message: string, reason: string, text: string) {
    super(message)
    this.condition = { type: 'ScalingActive', status: 'False', reason, message: text }
  }
}

interface Proposal {
  replicas: number
  name: string
  status: object
}

/** One pass over one autoscaler. */
class Sync {
  readonly #cluster: Cluster
  readonly #client: KubeClient
  readonly #hpa: Autoscaler
  readonly #keep: (history: History) => void
  #history: History | undefined
  #conditions: Condition[]

  constructor(
    cluster: Cluster,
    client: KubeClient,
    hpa: Autoscaler,
    history: History | undefined,
    keep: (history: History) => void,
  ) {
    this.#cluster = cluster
    this.#client = client
    this.#hpa = hpa
    this.#history = history
    this.#keep = keep
    this.#conditions = hpa.status?.conditions ?? []
  }

  async run(): Promise<void> {
    const { spec, status: before } = this.#hpa
    let path: string
    let scale: Scale
    try {
      path = this.#scalePath()
      scale = (await this.#client.get(path)) as Scale
    } catch (error) {
      const text = detailOf(error)
      this.#event('Warning', 'FailedGetScale', text)
      const message = `the HPA controller was unable to get the target's current scale: ${text}`
      this.#set({ type: 'AbleToScale', status: 'False', reason: 'FailedGetScale', message })
      return this.#write(old => old)
    }
    const got = "the HPA controller was able to get the target's current scale"
    this.#able('SucceededGetScale', got)
    const current = scale.spec.replicas ?? 0
    this.#history ??= firstHistory(current, Date.now())
    this.#keep(this.#history)

    const { minReplicas: min = 1, maxReplicas: max } = spec
    let wanted = current
    let reason = ''
    let metrics: object[] | undefined
    if (current === 0 && min !== 0) {
      const message = 'scaling is disabled since the replica count of the target is zero'
      this.#set({ type: 'ScalingActive', status: 'False', reason: 'ScalingDisabled', message })
    } else if (current > max) {
      reason = 'Current number of replicas above Spec.MaxReplicas'
      wanted = max
    } else if (current < min) {
      reason = 'Current number of replicas below Spec.MinReplicas'
      wanted = min
    } else {
      const found = await this.#propose(scale)
      metrics = found.statuses
      if (found.proposal === undefined) {
        this.#report(current, before?.desiredReplicas ?? 0, metrics)
        this.#event('Warning', 'FailedComputeMetricsReplicas', found.problem)
        return
      }
      const { replicas: proposed, name } = found.proposal
      if (proposed > current) reason = `${name} above target`
      if (proposed < current) reason = 'All metrics below target'
      const { behavior } = spec
      const situation = { history: this.#history, current, proposed, min, max, behavior, now: Date.now() }
      const decision = decide(situation)
      this.#history = decision.history
      this.#keep(this.#history)
      this.#able(decision.ableToScale.reason, decision.ableToScale.message)
      this.#set({ type: 'ScalingLimited', ...decision.limited })
      wanted = decision.replicas
    }
    if (wanted === current) return this.#report(current, current, metrics)

    try {
      await this.#client.replace({ ...scale, spec: { ...scale.spec, replicas: wanted } }, undefined, path)
    } catch (error) {
      const text = detailOf(error)
      this.#event('Warning', 'FailedRescale', `New size: ${wanted}; reason: ${reason}; error: ${text}`)
      const message = `the HPA controller was unable to update the target scale: ${text}`
      this.#set({ type: 'AbleToScale', status: 'False', reason: 'FailedUpdateScale', message })
      return this.#report(current, before?.desiredReplicas ?? 0, metrics)
    }
    this.#able('SucceededRescale', `the HPA controller was able to update the target scale to ${wanted}`)
    this.#event('Normal', 'SuccessfulRescale', `New size: ${wanted}; reason: ${reason}`)
    if (spec.behavior) this.#keep(rescaled(this.#history, current, wanted, Date.now()))
    this.#report(current, wanted, metrics, now())
  }

  #scalePath(): string {
    const { apiVersion = '', kind, name } = this.#hpa.spec.scaleTargetRef
    const { group } = splitApiVersion(apiVersion)
    const found = this.#cluster.store.registry.all().find(k => k.group === group && k.kind === kind)
    if (!found) throw new Error(`no matches for kind "${kind}" in group "${group}"`)
    const base = group === '' ? '/api/v1' : `/apis/${group}/${found.versions[0]}`
    return `${base}/namespaces/${this.#hpa.metadata.namespace}/${found.plural}/${name}/scale`
  }

  /** The highest proposal of all metrics; none when all failed, or when some did and the others would scale down. */
  async #propose(
    scale: Scale,
  ): Promise<
    { proposal: Proposal; statuses: object[] } | { proposal?: undefined; problem: string; statuses: object[] }
  > {
    const { metrics = [] } = this.#hpa.spec
    if (scale.status.selector === '') {
      const message = "the HPA target's scale is missing a selector"
      this.#event('Warning', 'SelectorRequired', 'selector is required')
      this.#set({ type: 'ScalingActive', status: 'False', reason: 'InvalidSelector', message })
      return { problem: 'selector is required', statuses: [] }
    }
    let proposal: Proposal | undefined
    const problems: MetricsError[] = []
    const statuses: object[] = []
    for (const metric of metrics) {
      try {
        const next = await this.#proposalOf(metric, scale)
        if (!proposal || next.replicas > proposal.replicas) proposal = next
        statuses.push(next.status)
      } catch (error) {
        if (!(error instanceof MetricsError)) throw error
        problems.push(error)
        this.#event('Warning', error.condition.reason ?? '', error.condition.message?.replace(unable, '') ?? '')
        statuses.push({ type: '' })
      }
    }
    const [first] = problems
    if (proposal && !(first && proposal.replicas < scale.spec.replicas)) {
      const message = `the HPA was able to successfully calculate a replica count from ${proposal.name}`
      this.#set({ type: 'ScalingActive', status: 'True', reason: 'ValidMetricFound', message })
      return { proposal, statuses }
    }
    if (first) this.#set(first.condition)
    const count = `${problems.length} invalid out of ${metrics.length}`
    return { problem: `invalid metrics (${count}), first error is: ${first?.message}`, statuses }
  }

  async #proposalOf(spec: MetricSpec, scale: Scale): Promise<Proposal> {
    if (spec.type !== 'External' || !spec.external) throw notServed(spec)
    const { metric, target } = spec.external
    const { namespace = '' } = this.#hpa.metadata
    const tolerance = this.#tolerance()
    const perPod = target.averageValue !== undefined
    let sum: number
    let replicas: number
    let current: object
    try {
      sum = await externalMetric(this.#client, namespace, metric)
      if (perPod) {
        const found = perPodReplicas(sum, milli(target.averageValue ?? 0), scale.status.replicas, tolerance)
        replicas = found.replicas
        current = { averageValue: milliText(found.average) }
      } else {
        const pods = scale.spec.replicas === 0 ? 0 : this.#readyPods(scale)
        replicas = valueReplicas(sum, milli(target.value ?? 0), scale.spec.replicas, pods, tolerance)
        current = { value: milliText(sum) }
      }
    } catch (error) {
      const text = (error as Error).message
      const message = perPod
        ? `failed to get ${metric.name} external metric: ${text}`
        : `failed to get external metric ${metric.name}: ${text}`
      throw new MetricsError(message, 'FailedGetExternalMetric', unable + text)
    }
    const name = `external metric ${metric.name}(${selectorText(metric.selector)})`
    return { replicas, name, status: { type: 'External', external: { metric, current } } }
  }

  #readyPods(scale: Scale): number {
    const selects = labelSelector(scale.status.selector)
    const pods = this.#cluster
      .list<Pod>('pods', this.#hpa.metadata.namespace)
      .filter(p => selects(p.metadata.labels ?? {}))
    if (pods.length === 0)
      throw new Error('unable to calculate ready pods: no pods returned by selector while calculating replica count')
    return pods.filter(p => p.status?.phase === 'Running' && isReady(p)).length
  }

  #tolerance(): Tolerance {
    const { behavior } = this.#hpa.spec
    const of = (given: string | number | undefined) => (given === undefined ? 0.1 : quantity(given))
    return { up: of(behavior?.scaleUp.tolerance), down: of(behavior?.scaleDown.tolerance) }
  }

  #set(condition: Condition): void {
    this.#conditions = withCondition(this.#conditions, condition)
  }
  #able(reason: string, message: string): void {
    this.#set({ type: 'AbleToScale', status: 'True', reason, message })
  }
  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#cluster.event(this.#hpa, { type, reason, message, component })
  }

  /** The whole status anew; `observedGeneration` is not in it, since up to 1.36 no autoscaler has a generation. */
  #report(currentReplicas: number, desiredReplicas: number, metrics?: object[], scaledAt?: string): void {
    const lastScaleTime = scaledAt ?? this.#hpa.status?.lastScaleTime
    this.#write(() => ({
      ...{ currentReplicas, desiredReplicas },
      ...(lastScaleTime === undefined ? {} : { lastScaleTime }),
      ...(metrics === undefined ? {} : { currentMetrics: metrics }),
    }))
  }
  #write(status: (old: Record<string, unknown>) => Record<string, unknown>): void {
    const next = (old: Record<string, unknown>) => ({ ...status(old), conditions: this.#conditions })
    this.#cluster.setStatus(this.#hpa, resource, next, 'kube-controller-manager')
  }
}

const unable = 'the HPA was unable to compute the replica count: '
const detailOf = (error: unknown): string =>
  error instanceof KubeError ? (error.detail ?? error.message) : (error as Error).message

/** A metric of an API that this cluster does not have. */
function notServed({ type, resource: of, pods, object }: MetricSpec): MetricsError {
  if (type === 'Resource') {
    const api = 'unable to fetch metrics from resource metrics API'
    const text = `unable to get metrics for resource ${of?.name}: ${api}: the server could not find the requested resource (get pods.metrics.k8s.io)`
    return new MetricsError(`failed to get ${of?.name} utilization: ${text}`, 'FailedGetResourceMetric', unable + text)
  }
  const name = (pods ?? object)?.metric.name
  const api = 'unable to fetch metrics from custom metrics API'
  const text = `unable to get metric ${name}: ${api}: no custom metrics API (custom.metrics.k8s.io) registered`
  const kind = type.toLowerCase()
  return new MetricsError(`failed to get ${kind} metric value: ${text}`, `FailedGet${type}Metric`, unable + text)
}
