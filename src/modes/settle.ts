import { pause } from '../cluster/api.ts'
import { waitUntilGone } from '../cluster/gone.ts'
import { get, remove } from '../cluster/objects.ts'
import type { Settled } from '../results/schema.ts'
import { restingReplicas } from '../stack/components/autoscaling.ts'
import { names } from '../stack/names.ts'
import type { Readiness } from '../stack/spec.ts'
import { decisionOf, decisionReadiness, externalMetricReadiness, hpaReadiness } from '../stack/wva-readiness.ts'
import {
  controllerGate,
  createHpa,
  createVariant,
  idleGate,
  idleSentence,
  metricGate,
  metricsGate,
  readMetric,
  serverLoads,
} from './chain-gates.ts'
import { removeScalers, restSentence, type Scalers, toRest } from './scalers.ts'

/** A VariantAutoscaling whose first decision comes from what was before is made again so often. */
const decisionTries = 3
/** Interval at which our ServiceMonitor asks to be scraped, ms; with a shorter query window a fraction of that. */
const scrapeMs = 15_000
const afterWindow = (windowMs: number): number => windowMs + Math.min(scrapeMs, windowMs / 4)

/**
 * Brings a stack under WVA to its start state, 1 replica at rest with a chain that is seen working, in the order that
 * leaves nothing of before in it:
 *
 * 1. the queues are empty; 2. the HPA goes, then the VariantAutoscaling; 3. the Deployment goes to its resting number, and
 * the surplus pods are gone; 4. the query window of the controller and one scrape pass, in which it still sees them; 5. a
 * new VariantAutoscaling gets a decision of its own, which equals the replicas there are and is what the external metrics
 * API serves, else it is deleted and 4 begins again; 6. the HPA is made last: before, it would act on an old gauge.
 *
 * @param options.fresh nothing of this stack was loaded or scaled before: 1 falls away, and 4 when nothing had to go
 * @returns how long it took; with `carriedOver` when WVA did not decide for the resting number in three tries
 * @throws UserError WVA_CHAIN naming the link that does not work
 */
export async function reset(s: Scalers, options: { windowMs: number; fresh: boolean }): Promise<Settled> {
  const started = performance.now()
  const step = (n: number, text: string) => s.log.info(`reset ${n} of 6: ${text}`)
  await controllerGate(s)
  if (!options.fresh) {
    step(1, 'waiting until the queues are empty')
    await idleGate(s)
  }
  step(2, 'removing HPA and VariantAutoscaling')
  const removed = await removeScalers(s)
  step(3, `setting the Deployment to ${restingReplicas} replica`)
  const surplus = await toRest(s)
  await metricsGate(s)
  let waitFrom = options.fresh && !removed && !surplus ? undefined : performance.now()
  let tries = 1
  let carriedOver: string | undefined
  for (; ; tries++) {
    if (waitFrom !== undefined) {
      const left = waitFrom + afterWindow(options.windowMs) - performance.now()
      step(4, `waiting ${Math.ceil(Math.max(0, left) / 1000)} s, until the controller has forgotten what was before`)
      if (left > 0) await pause(left, s.signal)
    }
    step(5, 'making the VariantAutoscaling and waiting for its decision')
    carriedOver = await decisionMismatch(s)
    if (carriedOver === undefined || tries === decisionTries) break
    s.log.info(`${carriedOver}; once more`)
    await removeVariant(s)
    waitFrom = performance.now()
  }
  step(6, 'making the HPA')
  await createHpa(s)
  const seconds = secondsSince(started)
  s.log.info(
    carriedOver === undefined
      ? `start state after ${seconds} s: ${restingReplicas} replica, decision and metric agree, the HPA acts on them`
      : `the start state was not reached in ${seconds} s: ${carriedOver}`,
  )
  return { how: 'reset', seconds, tries, ...(carriedOver === undefined ? {} : { carriedOver }) }
}

const secondsSince = (started: number): number => Number(((performance.now() - started) / 1000).toFixed(1))

/** Undefined when WVA decides for the replicas there are and the external metrics API says the same. */
async function decisionMismatch(s: Scalers): Promise<string | undefined> {
  let desired = await createVariant(s)
  // A number that is not the resting one is not waited for: the gauge will follow it, and so would an HPA.
  if (desired === restingReplicas) desired = await metricGate(s)
  return desired === restingReplicas
    ? undefined
    : `WVA has decided for ${desired} replicas while ${restingReplicas} is there`
}

async function removeVariant(s: Scalers): Promise<void> {
  const { decode } = names(s.target)
  const live = await get(s.api, 'VariantAutoscaling', s.target.namespace, decode, s.signal)
  if (live === undefined) return
  const object = { ...live, apiVersion: 'llmd.ai/v1alpha1', kind: 'VariantAutoscaling' }
  await remove(s.api, object, { signal: s.signal })
  await waitUntilGone(s.api, object, s.signal, s.log)
}

/** A decision that is older than so many reconcile intervals: WVA does not see anything. */
export const blindAfterIntervals = 3

/** Whether the stack stands at its start state with a working chain, as the first sentence that says otherwise. */
export async function atStart(s: Scalers, reconcileMs: number, nowMs: number): Promise<Readiness> {
  const { decode } = names(s.target)
  const { view } = s.observer
  const variant = view.get('VariantAutoscaling', decode)
  const first = [
    restSentence(view, decode),
    decisionReadiness(variant, view.get('Deployment', decode), {
      nowMs,
      // Seconds are all that the status has.
      maxMs: blindAfterIntervals * reconcileMs + 2000,
    }),
    hpaReadiness(view.get('HorizontalPodAutoscaler', decode)),
  ].find(r => r.state !== 'ready')
  if (first !== undefined) return first
  const desired = decisionOf(variant)!.desired
  if (desired !== restingReplicas) return { state: 'waiting', why: `WVA has decided for ${desired} replicas` }
  const metric = externalMetricReadiness(await readMetric(s), desired)
  return metric.state === 'ready' ? idleSentence(await serverLoads(s)) : metric
}

/**
 * Gives the stack time to come to its start state by itself, as the HPA takes one replica after the other away.
 * @returns `carriedOver` with the last sentence when the time was not enough
 */
export async function waitForStart(
  s: Scalers,
  options: { ms: number; reconcileMs: number; now: () => number },
): Promise<Settled> {
  const started = performance.now()
  let verdict = await atStart(s, options.reconcileMs, options.now())
  let said = ''
  while (verdict.state !== 'ready') {
    const left = options.ms - (performance.now() - started)
    if (left <= 0) break
    if (verdict.why !== said) s.log.info(`waiting for the start state: ${verdict.why}`)
    said = verdict.why
    await pause(Math.min(5000, left), s.signal)
    verdict = await atStart(s, options.reconcileMs, options.now())
  }
  const seconds = secondsSince(started)
  const how = options.ms === 0 ? 'none' : 'waited'
  return { how, seconds, tries: 0, ...(verdict.state === 'ready' ? {} : { carriedOver: verdict.why }) }
}

/**
 * Makes the scalers again after a reset that was cut: the VariantAutoscaling, then, when the metric follows its decision,
 * the HPA. Nothing is done when both are there.
 */
export async function restoreScalers(s: Scalers): Promise<boolean> {
  const { decode } = names(s.target)
  const there = await Promise.all(
    (['VariantAutoscaling', 'HorizontalPodAutoscaler'] as const).map(kind =>
      get(s.api, kind, s.target.namespace, decode, s.signal),
    ),
  )
  if (there.every(o => o !== undefined)) return false
  s.log.info('HPA or VariantAutoscaling are missing, a reset was cut: making them again from the inventory')
  await createVariant(s)
  await metricGate(s)
  await createHpa(s)
  return true
}
