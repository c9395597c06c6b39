import type { Api } from '../cluster/api.ts'
import { isNotFound } from '../cluster/api-error.ts'
import { setReplicas } from '../cluster/autoscaling.ts'
import { chainBroken } from '../cluster/gate.ts'
import { waitUntilGone } from '../cluster/gone.ts'
import { get, isOurs, remove } from '../cluster/objects.ts'
import type { Observer, View } from '../cluster/observer.ts'
import type { Kind } from '../cluster/resources.ts'
import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Autoscaling, restingReplicas, type ScalerTarget } from '../stack/components/autoscaling.ts'
import { type KubeObject, stackLabel } from '../stack/kube.ts'
import { names } from '../stack/names.ts'
import type { Readiness } from '../stack/spec.ts'

/** What every step on the scalers of one stack needs. */
export interface Scalers {
  readonly api: Api
  readonly target: ScalerTarget & { readonly autoscaling: Autoscaling }
  /** Follows Deployment, pods, HPA and VariantAutoscaling of the stack. */
  readonly observer: Observer
  /** Longest wait for one link of the chain. */
  readonly gateMs: number
  readonly signal: AbortSignal
  readonly log: Log
}

/** Starts what the scalers are followed by. */
export async function watchScalers(observer: Observer, stack: string): Promise<void> {
  const labelSelector = `${stackLabel}=${stack}`
  const kinds: Kind[] = ['Deployment', 'Pod', 'HorizontalPodAutoscaler', 'VariantAutoscaling']
  await Promise.all(kinds.map(kind => observer.watch(kind, { labelSelector })))
}

/** Name of the Deployment, and with it of HPA and VariantAutoscaling. */
export const nameOf = (s: Pick<Scalers, 'target'>): string => names(s.target).decode

/** Pods of the decode Deployment that have not gone yet, also those that are going. */
export const decodePods = (view: View): KubeObject[] =>
  view.list('Pod').filter(p => p.metadata.labels?.['llm-d.ai/role'] === 'decode')

/**
 * Deletes the HPA, then the VariantAutoscaling, and waits until each is gone. Nothing is deleted when one of them is
 * somebody else's.
 * @returns whether there was one
 */
export async function removeScalers(s: Scalers): Promise<boolean> {
  const kinds = ['HorizontalPodAutoscaler', 'VariantAutoscaling'] as const
  const found = await Promise.all(kinds.map(kind => get(s.api, kind, s.target.namespace, nameOf(s), s.signal)))
  const objects = found.flatMap((live, i) => (live === undefined ? [] : [{ ...live, kind: kinds[i]! }]))
  for (const object of objects) {
    if (isOurs(object, s.target.stack)) continue
    throw new UserError('PREFLIGHT', `The ${object.kind} ${nameOf(s)} is not of this stack.`, {
      why: 'It does not carry our ownership label; nothing without it is deleted.',
      next: 'Remove it, or use another namespace.',
    })
  }
  for (const object of objects) {
    await remove(s.api, object, { signal: s.signal })
    await waitUntilGone(s.api, object, s.signal, s.log)
  }
  return objects.length > 0
}

/** Longest grace period of a model server that still answers requests, and a slow kubelet. */
const surplusGoneMs = 5 * 60_000

/** Sets the Deployment to its resting number and waits until no other pod is left. @returns whether one had to go */
export async function toRest(s: Scalers): Promise<boolean> {
  const { namespace } = s.target
  try {
    await setReplicas(s.api, namespace, nameOf(s), restingReplicas, s.signal)
  } catch (error) {
    if (!isNotFound(error)) throw error
    throw chainBroken(
      'the way back to its start state',
      `The Deployment ${nameOf(s)} is gone`,
      'Stand the stack up again.',
    )
  }
  const surplus = decodePods(s.observer.view).length > restingReplicas
  // The watch may not have told yet what was set, by us or a moment before by the HPA: its generation says so.
  const written = (await get(s.api, 'Deployment', namespace, nameOf(s), s.signal))?.metadata.generation
  let said = ''
  const sentence = (view: View) => restSentence(view, nameOf(s), written)
  const look = (view: View): true | undefined => {
    const verdict = sentence(view)
    if (verdict.state === 'ready') return true
    if (verdict.why !== said) s.log.info(`back to ${restingReplicas} replica: ${verdict.why}`)
    said = verdict.why
    return undefined
  }
  await s.observer.until(look, {
    timeoutMs: surplusGoneMs,
    signal: s.signal,
    onTimeout: () =>
      chainBroken(
        'the way back to its start state',
        `Not there after ${surplusGoneMs / 1000} s: ${said}.`,
        'Look at the events of the decode pods.',
      ),
  })
  return surplus
}

/**
 * One replica, ready, and no other pod, not even one that is going.
 * @param written generation of the Deployment that the view must have reached, and its controller must have seen
 */
export function restSentence(view: View, deployment: string, written = 0): Readiness {
  const live = view.get('Deployment', deployment)
  const wanted = (live?.spec as { replicas?: number } | undefined)?.replicas
  const pods = decodePods(view)
  const status = (live?.status ?? {}) as { observedGeneration?: number; readyReplicas?: number; replicas?: number }
  const { observedGeneration = 0, readyReplicas = 0, replicas = 0 } = status
  if (wanted !== restingReplicas) return { state: 'waiting', why: `the Deployment asks for ${wanted} replicas` }
  if (observedGeneration < Math.max(written, live?.metadata.generation ?? 0))
    return { state: 'waiting', why: 'the Deployment controller has not looked at it since it was changed' }
  if (pods.length !== restingReplicas || replicas !== restingReplicas)
    return { state: 'waiting', why: `${pods.length} decode pods are there` }
  return readyReplicas === restingReplicas ? { state: 'ready' } : { state: 'waiting', why: 'its pod is not ready' }
}
