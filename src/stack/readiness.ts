import { conditionOf, conditionSentence, eventsOf, quoted, timesSeen } from './foreign.ts'
import { gatewayReadiness, poolReadiness, routeReadiness } from './gateway-readiness.ts'
import type { KubeObject } from './kube.ts'
import { podCode, podState, podVerdict } from './pod-readiness.ts'
import type { Readiness } from './spec.ts'

/** Objects that explain another one: its pods, its ReplicaSets, and the events of all of them. */
export interface Around {
  readonly pods: readonly KubeObject[]
  readonly events: readonly KubeObject[]
  readonly replicaSets?: readonly KubeObject[]
}

const ready: Readiness = { state: 'ready' }
const waiting = (why: string): Readiness => ({ state: 'waiting', why })

/**
 * Whether an object is ready, as a sentence computed from what was read: nothing is asked, nothing is waited for.
 * Kinds without a rule are ready as soon as they exist. GPU_SHORTAGE is the one verdict that time may mend (a node is
 * added, a quota is freed): how long to wait for that is the caller's.
 */
export function readiness(live: KubeObject, around: Around): Readiness {
  switch (live.kind) {
    case 'Deployment':
      return deployment(live, around)
    case 'Job':
      return job(live, around)
    case 'Pod':
      return podVerdict(live, around.events)
    case 'Gateway':
      return gatewayReadiness(live)
    case 'HTTPRoute':
      return routeReadiness(live)
    case 'InferencePool':
      return poolReadiness(live)
    case 'PersistentVolumeClaim':
      return claim(live, around)
    default:
      return ready
  }
}

/** Pods that the cluster evicts are replaced: this many, and the replacement meets the same fate. */
const evictionsThatCount = 3

function deployment(live: KubeObject, around: Around): Readiness {
  const wanted = (live.spec as { replicas?: number } | undefined)?.replicas ?? 1
  const status = (live.status ?? {}) as Partial<
    Record<'observedGeneration' | 'replicas' | 'updatedReplicas' | 'availableReplicas', number>
  >
  if ((status.observedGeneration ?? 0) < (live.metadata.generation ?? 0)) {
    return waiting('its controller has not seen the last change')
  }
  const { updatedReplicas: updated = 0, availableReplicas: available = 0, replicas: total = 0 } = status
  if (updated === wanted && available === wanted && total === wanted) return ready
  const refused = conditionOf(live, 'ReplicaFailure')
  if (refused?.status === 'True') return refusal(refused.message ?? refused.reason)
  const pods = currentPods(live, around)
  const evicted = pods.filter(p => podPhase(p) === 'Failed')
  const rest = evicted.length >= evictionsThatCount ? pods : pods.filter(p => !evicted.includes(p))
  const verdicts = rest.map(p => podVerdict(p, around.events))
  const bad = verdicts.find(v => v.state === 'failed')
  if (bad !== undefined) return bad
  const late = conditionOf(live, 'Progressing')
  if (late?.status === 'False') {
    return {
      state: 'failed',
      code: 'MODEL_LOAD',
      why: conditionSentence(late),
      next: 'Look at the events and the logs of its pods.',
      ...(late.message === undefined ? {} : { evidence: [late.message] }),
    }
  }
  const reason = verdicts.find(v => v.state === 'waiting')
  return waiting(`${available} of ${wanted} replicas ready${reason?.state === 'waiting' ? `, ${reason.why}` : ''}`)
}

const podPhase = (pod: KubeObject): string | undefined => (pod.status as { phase?: string } | undefined)?.phase

const revision = 'deployment.kubernetes.io/revision'

/** Pods of the newest revision: what an older one suffers from is being replaced. */
function currentPods(live: KubeObject, around: Around): KubeObject[] {
  const alive = around.pods.filter(p => p.metadata.deletionTimestamp === undefined)
  const wanted = live.metadata.annotations?.[revision]
  const newest = around.replicaSets?.find(rs => wanted !== undefined && rs.metadata.annotations?.[revision] === wanted)
  if (newest === undefined) return alive
  return alive.filter(p => {
    const owner = p.metadata.ownerReferences?.find(r => r.controller)
    return owner === undefined || owner.uid === newest.metadata.uid
  })
}

/** Why a controller could not create a pod at all. */
function refusal(message: unknown): Readiness {
  const text = quoted(message, 'no message')
  const why = `its pods cannot be created: ${text}`
  // The account is applied in the same moment; the controller tries again.
  if (/serviceaccount .*not found/i.test(text)) return waiting(why)
  const evidence = typeof message === 'string' ? [message] : []
  if (/exceeded quota/i.test(text)) {
    const next = 'Raise the quota of the namespace, free what uses it, or lower `replicas`.'
    return { state: 'failed', code: 'GPU_SHORTAGE', why, next, evidence }
  }
  const next =
    'A policy, webhook, limit range or priority class of the cluster refuses the pod: compare it with plan.yaml.'
  return { state: 'failed', code: 'PREFLIGHT', why, next, evidence }
}

function job(live: KubeObject, around: Around): Readiness {
  if (conditionOf(live, 'Complete')?.status === 'True') return ready
  const dead = [conditionOf(live, 'Failed'), conditionOf(live, 'FailureTarget')].find(c => c?.status === 'True')
  if (dead !== undefined) {
    return {
      state: 'failed',
      code: 'MODEL_DOWNLOAD',
      why: `${quoted(dead.reason, 'Failed')}: ${quoted(dead.message, 'the job gave up')}`,
      next: 'Read the last lines of its log: a refused token, no space on the volume, or no way to the model hub.',
      evidence: dead.message === undefined ? [] : [dead.message],
    }
  }
  const pods = around.pods.filter(p => p.metadata.deletionTimestamp === undefined)
  const refused = eventsOf(around.events, 'Job', live.metadata.name, ['FailedCreate']).at(-1)
  if (pods.length === 0 && refused !== undefined) return refusal(refused.message)
  const states = pods.map(pod => ({ pod, state: podState(pod, around.events) }))
  for (const { pod, state } of states) {
    // The Job's own back-off repeats a crashed download: only what cannot mend itself ends the wait early.
    if (state.state !== 'failed' || state.cause === 'crash' || state.cause === 'ended') continue
    const { cause, ...rest } = state
    return { ...rest, code: podCode(pod, cause) }
  }
  const attempts = Number((live.status as { failed?: number } | undefined)?.failed) || 0
  const reason = states.map(s => s.state).find(s => s.state !== 'ready')
  return waiting(
    `running${attempts > 0 ? `, ${attempts} attempt(s) failed` : ''}${reason === undefined ? '' : `, ${reason.why}`}`,
  )
}

/** A provisioner that fails once may be busy. */
const provisioningFailuresThatCount = 3

/** Pending is no reason to wait by itself: with WaitForFirstConsumer a claim is bound only when a pod uses it. */
function claim(live: KubeObject, around: Around): Readiness {
  const phase = (live.status as { phase?: string } | undefined)?.phase
  if (phase === 'Lost') {
    return {
      state: 'failed',
      code: 'MODEL_DOWNLOAD',
      why: 'its volume is lost',
      next: 'Delete the claim (teardown with deep: true) and stand up again.',
    }
  }
  const failures = eventsOf(around.events, 'PersistentVolumeClaim', live.metadata.name, ['ProvisioningFailed'])
  if (phase === 'Bound' || failures.length === 0) return ready
  const why = `no volume can be made for it: ${quoted(failures.at(-1)?.message, 'no message')}`
  if (timesSeen(failures) < provisioningFailuresThatCount) return waiting(why)
  return {
    state: 'failed',
    code: 'MODEL_DOWNLOAD',
    why,
    next: 'Check that the storage class exists and can make a volume of this size and access mode (`storage-class`, `access-mode`, `model-cache-size`).',
    evidence: failures.map(e => String(e.message ?? '')).slice(-3),
  }
}
