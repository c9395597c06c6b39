import { externalMetric, metricsPage } from '../cluster/autoscaling.ts'
import { podEvidence } from '../cluster/diagnose.ts'
import { chainBroken, pollReady } from '../cluster/gate.ts'
import { apply, get, list } from '../cluster/objects.ts'
import type { View } from '../cluster/observer.ts'
import { UserError } from '../errors.ts'
import { controllerSelector } from '../platform/wva.ts'
import {
  horizontalPodAutoscaler,
  externalMetric as metricName,
  variantAutoscaling,
} from '../stack/components/autoscaling.ts'
import { vllmPort } from '../stack/components/model-server.ts'
import { conditionOf } from '../stack/foreign.ts'
import type { KubeObject } from '../stack/kube.ts'
import { names } from '../stack/names.ts'
import type { Readiness } from '../stack/spec.ts'
import {
  controllerReadiness,
  controllerRestarts,
  decisionOf,
  decisionReadiness,
  externalMetricReadiness,
  hpaReadiness,
  type MetricAnswer,
  metricsReadiness,
  type ServerLoad,
  serverLoad,
} from '../stack/wva-readiness.ts'
import { decodePods, nameOf, type Scalers } from './scalers.ts'

// The links of the chain, each with its wait: what `stack/wva-readiness.ts` says, asked of a cluster.

/** Waits until a sentence about what is watched says *ready*. */
async function gate(
  s: Scalers,
  label: string,
  next: string,
  check: (view: View) => Readiness,
  evidence: () => Promise<readonly string[]> = async () => [],
): Promise<void> {
  let last = ''
  try {
    await s.observer.until(
      view => {
        const verdict = check(view)
        if (verdict.state === 'ready') return true
        if (verdict.state === 'failed') throw chainBroken(label, verdict.why, verdict.next, verdict.evidence)
        if (verdict.why !== last) s.log.info(`${label}: ${verdict.why}`)
        last = verdict.why
        return undefined
      },
      {
        timeoutMs: s.gateMs,
        signal: s.signal,
        onTimeout: () => chainBroken(label, `Not ready after ${Math.round(s.gateMs / 1000)} s: ${last}.`, next),
      },
    )
  } catch (error) {
    if (!(error instanceof UserError) || s.signal.aborted) throw error
    const f = error.failure
    throw new UserError(f.code, f.what, { why: f.why, next: f.next, evidence: [...f.evidence, ...(await evidence())] })
  }
}

/** The WVA controller is there, available, and does not restart. */
export async function controllerGate(s: Scalers): Promise<void> {
  const { controllerNamespace: namespace, controllerName: name } = s.target.autoscaling
  let before: number | undefined
  await pollReady(
    'the WVA controller',
    async signal => {
      const [live, pods] = await Promise.all([
        get(s.api, 'Deployment', namespace, name, signal),
        list(s.api, 'Pod', namespace, { labelSelector: controllerSelector, signal }).then(
          r => r.items,
          () => undefined,
        ),
      ])
      // Only pods that were seen say how often they had restarted before.
      if (pods !== undefined) before ??= controllerRestarts(pods)
      return controllerReadiness(live, pods ?? [], before ?? 0)
    },
    {
      timeoutMs: s.gateMs,
      next: `Look at the pods of ${namespace}: \`kubectl -n ${namespace} describe deployment ${name}\`.`,
      signal: s.signal,
      log: s.log,
    },
  )
}

/** The metrics pages of all decode pods that are ready, by pod. */
async function pages(s: Scalers, signal = s.signal): Promise<Map<string, string | undefined>> {
  // A pod that starts, or that found no GPU, has no page and no queue.
  const pods = decodePods(s.observer.view).filter(
    p => p.metadata.deletionTimestamp === undefined && conditionOf(p, 'Ready')?.status === 'True',
  )
  const { namespace } = s.target
  const read = pods.map(
    async ({ metadata: { name } }) => [name, await metricsPage(s.api, { namespace, name }, vllmPort, signal)] as const,
  )
  return new Map(await Promise.all(read))
}

/** What every model server is doing now; undefined for one that does not answer. */
export async function serverLoads(s: Scalers, signal = s.signal): Promise<Map<string, ServerLoad | undefined>> {
  return new Map(
    [...(await pages(s, signal))].map(([pod, page]) => [pod, page === undefined ? undefined : serverLoad(page)]),
  )
}

/** Every model server shows the gauges that WVA decides by. */
export const metricsGate = (s: Scalers): Promise<void> =>
  pollReady(
    'the metrics of the model servers',
    async signal => metricsReadiness(await pages(s, signal), s.target.model),
    {
      timeoutMs: s.gateMs,
      next: 'Look at the log of the vllm container and at its page /metrics on port 8200.',
      signal: s.signal,
      log: s.log,
    },
  )

/** Nothing waits and nothing runs on any model server. */
export const idleGate = (s: Scalers): Promise<void> =>
  pollReady('the queues of the model servers', async signal => idleSentence(await serverLoads(s, signal)), {
    timeoutMs: s.gateMs,
    next: 'Something still sends requests to the stack: look for other harness pods, or raise `timeouts.gates`.',
    signal: s.signal,
    log: s.log,
  })

export function idleSentence(loads: ReadonlyMap<string, ServerLoad | undefined>): Readiness {
  for (const [pod, load] of loads) {
    if (load === undefined) return { state: 'waiting', why: `the metrics of pod ${pod} cannot be read` }
    if (load.running + load.waiting > 0)
      return { state: 'waiting', why: `pod ${pod} has ${load.running} requests running and ${load.waiting} waiting` }
  }
  return { state: 'ready' }
}

/** The view may still show the object that was deleted a moment ago under the same name. */
const same = (seen: KubeObject | undefined, made: KubeObject): KubeObject | undefined =>
  seen?.metadata.uid === made.metadata.uid ? seen : undefined

/** Creates the VariantAutoscaling and waits for a decision of its own. @returns replicas that WVA wants */
export async function createVariant(s: Scalers): Promise<number> {
  const made = await apply(s.api, variantAutoscaling(s.target), { signal: s.signal })
  const { decode, vllm } = names(s.target)
  let decision: ReturnType<typeof decisionOf>
  await gate(
    s,
    'the decision of WVA',
    `The model servers show their metrics and WVA does not see them: check that its Prometheus selects the ServiceMonitor ${vllm} (input service-monitor-labels) and its namespace, and look at the log of the controller.`,
    view => {
      const live = same(view.get('VariantAutoscaling', decode), made)
      decision = decisionOf(live)
      return decisionReadiness(live, view.get('Deployment', decode))
    },
    () => controllerEvidence(s),
  )
  return decision!.desired
}

async function controllerEvidence(s: Scalers): Promise<string[]> {
  const { controllerNamespace: namespace } = s.target.autoscaling
  try {
    const { items } = await list(s.api, 'Pod', namespace, { labelSelector: controllerSelector, signal: s.signal })
    return (await Promise.all(items.slice(0, 2).map(pod => podEvidence(s.api, pod)))).flat()
  } catch {
    return []
  }
}

/** What the HPA would read now. */
export const readMetric = (s: Scalers, options: { signal?: AbortSignal; once?: boolean } = {}): Promise<MetricAnswer> =>
  externalMetric(s.api, s.target.namespace, metricName, { variant_name: nameOf(s) }, { signal: s.signal, ...options })

/** The external metrics API serves what WVA has decided last. @returns that decision */
export async function metricGate(s: Scalers): Promise<number> {
  let decided = Number.NaN
  const look = async (signal: AbortSignal): Promise<Readiness> => {
    const answer = await readMetric(s, { signal, once: true })
    const decision = decisionOf(s.observer.view.get('VariantAutoscaling', nameOf(s)))
    if (decision === undefined)
      return { state: 'waiting', why: 'the VariantAutoscaling is not there any more, or has no decision' }
    decided = decision.desired
    return externalMetricReadiness(answer, decided)
  }
  await pollReady('the external metrics API', look, {
    timeoutMs: s.gateMs,
    next: 'Look at the log of prometheus-adapter, and compare its rule for inferno_desired_replicas with docs/platform.md.',
    signal: s.signal,
    log: s.log,
  })
  return decided
}

/** Creates the HPA, which starts from where the Deployment stands, and waits until it acts on the metric. */
export async function createHpa(s: Scalers): Promise<void> {
  const made = await apply(s.api, horizontalPodAutoscaler(s.target), { signal: s.signal })
  await gate(s, 'the HPA', `Look at \`kubectl -n ${s.target.namespace} describe hpa ${nameOf(s)}\`.`, view =>
    hpaReadiness(same(view.get('HorizontalPodAutoscaler', nameOf(s)), made)),
  )
}
