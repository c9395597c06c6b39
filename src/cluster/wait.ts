import { type FailureCode, UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { KubeObject } from '../stack/kube.ts'
import { podVerdict } from '../stack/pod-readiness.ts'
import { readiness } from '../stack/readiness.ts'
import type { Api } from './api.ts'
import { withPodEvidence } from './diagnose.ts'
import type { Observer, View } from './observer.ts'
import { describe, type Kind } from './resources.ts'

export interface Expectation {
  readonly kind: Kind
  readonly name: string
  readonly timeoutMs: number
  /** Failure code of a time-out; an early verdict brings its own. */
  readonly code: FailureCode
  readonly next: string
}

/** How long a verdict that a cluster autoscaler may still mend (no GPU free) is taken as waiting. */
export interface Patience {
  readonly scheduleMs: number
}

/** Pods and events that explain an object: its own pods by selector, and the events of both. */
export function related(
  view: View,
  live: KubeObject,
): { pods: KubeObject[]; events: KubeObject[]; replicaSets: KubeObject[] } {
  const spec = live.spec as { selector?: { matchLabels?: Record<string, string> }; template?: unknown } | undefined
  const pods = view.list('Pod').filter(pod => ownedBy(pod, live, spec?.selector?.matchLabels))
  const replicaSets = view
    .list('ReplicaSet')
    .filter(rs => rs.metadata.ownerReferences?.some(r => r.uid === live.metadata.uid))
  const names = new Set([
    live.metadata.name,
    ...pods.map(p => p.metadata.name),
    ...replicaSets.map(r => r.metadata.name),
  ])
  const events = view
    .list('Event')
    .filter(e => names.has(String((e.involvedObject as { name?: string } | undefined)?.name)))
  return { pods, events, replicaSets }
}

function ownedBy(pod: KubeObject, live: KubeObject, labels: Record<string, string> | undefined): boolean {
  if (live.kind === 'Pod') return pod.metadata.name === live.metadata.name
  if (pod.metadata.ownerReferences?.some(r => r.uid === live.metadata.uid)) return true
  const wanted = Object.entries(labels ?? {})
  return wanted.length > 0 && wanted.every(([k, v]) => pod.metadata.labels?.[k] === v)
}

/**
 * Waits until one object is ready, with an early verdict. The sentence of what is waited for is logged when it changes.
 * @throws UserError with the pod's events and last log lines as evidence.
 */
export async function waitReady(
  api: Api,
  observer: Observer,
  expectation: Expectation,
  options: { patience: Patience; signal: AbortSignal; log: Log },
): Promise<KubeObject> {
  const { kind, name } = expectation
  const label = describe({ kind, metadata: { name } })
  let last = ''
  let shortSince: number | undefined
  const say = (sentence: string) => {
    if (sentence !== last) options.log.info(`${label}: ${sentence}`)
    last = sentence
  }
  let pods: KubeObject[] = []
  let events: KubeObject[] = []
  try {
    return await observer.until(
      view => {
        const live = view.get(kind, name)
        if (!live) {
          say('not there yet')
          return undefined
        }
        const around = related(view, live)
        pods = around.pods
        events = around.events
        const verdict = readiness(live, around)
        if (verdict.state === 'ready') {
          say('ready')
          return live
        }
        say(verdict.why)
        if (verdict.state !== 'failed') {
          shortSince = undefined
          return undefined
        }
        if (verdict.code === 'GPU_SHORTAGE') {
          if (shortSince === undefined) {
            shortSince = Date.now()
            setTimeout(() => observer.poke(), options.patience.scheduleMs + 10).unref()
          }
          if (scaleUpComing(around.events) || Date.now() - shortSince < options.patience.scheduleMs) return undefined
        }
        throw new UserError(verdict.code, `${label} did not become ready.`, {
          why: verdict.why,
          next: verdict.next,
          evidence: verdict.evidence ?? [],
        })
      },
      {
        timeoutMs: expectation.timeoutMs,
        signal: options.signal,
        onTimeout: () =>
          new UserError(
            expectation.code,
            `${label} was not ready after ${Math.round(expectation.timeoutMs / 1000)} s.`,
            {
              why: last === '' ? 'Nothing was seen of it.' : `Last seen: ${last}.`,
              next: expectation.next,
            },
          ),
      },
    )
  } catch (error) {
    if (options.signal.aborted) throw error
    throw await withPodEvidence(error, api, suspects(pods, events))
  }
}

/** The pods that explain the verdict first, then the ones that are not ready; two are enough to read. */
function suspects(pods: readonly KubeObject[], events: readonly KubeObject[]): KubeObject[] {
  const rank = { failed: 0, waiting: 1, ready: 2 } as const
  return [...pods].sort((a, b) => rank[podVerdict(a, events).state] - rank[podVerdict(b, events).state]).slice(0, 2)
}

/** A cluster autoscaler or Karpenter has said that a node is on its way. */
function scaleUpComing(events: readonly KubeObject[]): boolean {
  return events.some(e => ['TriggeredScaleUp', 'Nominated', 'ProvisioningRequested'].includes(String(e.reason)))
}
