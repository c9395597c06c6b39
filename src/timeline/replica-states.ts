import type { Repeat, WatchEvent } from '../results/schema.ts'

/** What a timeline needs of a repeat. */
export type ReplicaRecord = Pick<Repeat, 'index' | 'startedAt' | 'steps' | 'events' | 'clockOffsetMs'>

/** The chain from decision to serving pod at one moment; absent: nothing has been seen yet, or the object is gone. */
export interface ReplicaState {
  /** Replicas that WVA decided. */
  readonly wva?: number
  /** What the external metrics API served; null when it had nothing to serve. */
  readonly metric?: number | null
  readonly hpaDesired?: number
  readonly hpaCurrent?: number
  /** Replicas that the Deployment was told to have. */
  readonly deployment?: number
  /** Pods that hold a node, terminating ones included. */
  readonly scheduled?: number
  /** Pods that are Ready and not terminating; the Deployment's own count where no pod was watched. */
  readonly ready?: number
  /** Requests that wait in the model servers: sum over the last scrape of each pod that still exists. */
  readonly waiting?: number
}

export interface ReplicaChange {
  /** Since the begin of the first step, s; negative before the load. */
  readonly seconds: number
  readonly state: ReplicaState
}

/** One position of the profile, all harness pods together; s since the begin of the first step. */
export interface StepWindow {
  readonly index: number
  /** Requests per second over all pods. */
  readonly rate: number
  readonly begin: number
  readonly end: number
}

/**
 * Second 0 of a repeat's timeline on the harness clock, s since the Unix epoch: the begin of its first step. A repeat
 * without steps has no load; there it is the moment at which the repeat started.
 */
export const originOf = (repeat: Pick<ReplicaRecord, 'startedAt' | 'steps' | 'clockOffsetMs'>): number =>
  repeat.steps.length > 0
    ? repeat.steps.reduce((first, step) => Math.min(first, step.begin), Number.POSITIVE_INFINITY)
    : (Date.parse(repeat.startedAt) + (repeat.clockOffsetMs ?? 0)) / 1000

/** A receipt time on the runner (ms) as seconds of the repeat's timeline. */
export const secondsOf = (repeat: ReplicaRecord, at: number): number =>
  (at + (repeat.clockOffsetMs ?? 0)) / 1000 - originOf(repeat)

/** The steps of a repeat in the order of the profile. */
export function stepWindows(repeat: ReplicaRecord): StepWindow[] {
  const origin = originOf(repeat)
  return [...Map.groupBy(repeat.steps, step => step.index)]
    .sort(([a], [b]) => a - b)
    .map(([index, pods]) => ({
      index,
      rate: pods.reduce((sum, pod) => sum + pod.rate, 0),
      begin: pods.reduce((first, pod) => Math.min(first, pod.begin), Number.POSITIVE_INFINITY) - origin,
      end: pods.reduce((last, pod) => Math.max(last, pod.begin + pod.seconds), 0) - origin,
    }))
}

/**
 * Every change of state, in order of time; what arrived in the same millisecond is one change. Times are receipt times
 * on the runner, moved to the harness clock by the repeat's offset.
 */
export function replicaChanges(repeat: ReplicaRecord): ReplicaChange[] {
  const origin = originOf(repeat)
  const offset = repeat.clockOffsetMs ?? 0
  const chain = new Chain(repeat.events.some(event => event.kind === 'Pod'))
  const events = repeat.events.toSorted((a, b) => a.at - b.at)
  const changes: ReplicaChange[] = []
  for (const [i, event] of events.entries()) {
    chain.take(event)
    if (events[i + 1]?.at === event.at) continue
    const state = chain.state()
    if (equal(state, changes.at(-1)?.state ?? {})) continue
    changes.push({ seconds: (event.at + offset) / 1000 - origin, state })
  }
  return changes
}

/** Position of the last change at or before a moment; -1 before the first. By bisection: steps times changes is a lot. */
export function indexAt(changes: readonly ReplicaChange[], seconds: number): number {
  let [low, high] = [0, changes.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (changes[middle]!.seconds <= seconds) low = middle + 1
    else high = middle
  }
  return low - 1
}

const fields = ['wva', 'metric', 'hpaDesired', 'hpaCurrent', 'deployment', 'scheduled', 'ready', 'waiting'] as const
/** Whether two states say the same, `but` for one field. */
export const equal = (a: ReplicaState, b: ReplicaState, but?: keyof ReplicaState): boolean =>
  fields.every(field => field === but || a[field] === b[field])

type PodEvent = Extract<WatchEvent, { kind: 'Pod' }>
const isHeld = (pod: PodEvent): boolean =>
  pod.type !== 'DELETED' && pod.nodeName !== undefined && pod.phase !== 'Succeeded' && pod.phase !== 'Failed'
const isReady = (pod: PodEvent): boolean => isHeld(pod) && pod.ready && !pod.deleting

/** Counts kept up event by event: a long repeat has many thousands. */
class Chain {
  readonly #podsWatched: boolean
  readonly #known: { -readonly [F in keyof ReplicaState]: ReplicaState[F] } = {}
  readonly #pods = new Map<string, PodEvent>()
  readonly #waiting = new Map<string, number>()
  #sum = 0

  constructor(podsWatched: boolean) {
    this.#podsWatched = podsWatched
  }

  take(event: WatchEvent): void {
    const known = this.#known
    switch (event.kind) {
      case 'VariantAutoscaling':
        if (event.type === 'DELETED' || event.desired === undefined) delete known.wva
        else known.wva = event.desired
        break
      case 'ExternalMetric':
        known.metric = event.value
        break
      case 'HorizontalPodAutoscaler':
        if (event.type === 'DELETED') {
          delete known.hpaDesired
          delete known.hpaCurrent
        } else [known.hpaDesired, known.hpaCurrent] = [event.desired, event.current]
        break
      case 'Deployment':
        known.deployment = event.type === 'DELETED' ? 0 : event.desired
        if (!this.#podsWatched) known.ready = event.type === 'DELETED' ? 0 : event.ready
        break
      case 'Pod':
        this.#pod(event)
        break
      case 'Replica':
        this.#scrape(event.name, event.waiting)
    }
  }

  state(): ReplicaState {
    return { ...this.#known }
  }

  #pod(event: PodEvent): void {
    const before = this.#pods.get(event.name)
    const change = (test: (pod: PodEvent) => boolean): number =>
      Number(test(event)) - Number(before !== undefined && test(before))
    this.#known.scheduled = (this.#known.scheduled ?? 0) + change(isHeld)
    this.#known.ready = (this.#known.ready ?? 0) + change(isReady)
    this.#pods.set(event.name, event)
    const waited = this.#waiting.get(event.name)
    if (event.type === 'DELETED' && waited !== undefined) {
      this.#waiting.delete(event.name)
      this.#sum -= waited
      this.#known.waiting = this.#sum
    }
  }

  #scrape(pod: string, waiting: number): void {
    // An answer that was under way when its pod went would count for ever.
    if (this.#pods.get(pod)?.type === 'DELETED') return
    this.#sum += waiting - (this.#waiting.get(pod) ?? 0)
    this.#waiting.set(pod, waiting)
    this.#known.waiting = this.#sum
  }
}
