import type { Repeat, WatchEvent } from '../../../src/results/schema.ts'
import { repeatOf, stepOf } from '../results/legs.ts'

/** Begin of the first step of `stepOf`, s since the Unix epoch on the harness clock. */
export const begin = 1_800_000_000
/** The harness clock is this much ahead of the runner's, ms. */
export const offsetMs = 250

type Loose<E> = E extends WatchEvent ? Omit<E, 'at'> : never
/** An event at so many seconds after the load began. */
export const at = (seconds: number, event: Loose<WatchEvent>): WatchEvent =>
  ({ at: (begin + seconds) * 1000 - offsetMs, ...event }) as WatchEvent

export const wva = (desired?: number): Loose<WatchEvent> => ({
  kind: 'VariantAutoscaling',
  type: 'MODIFIED',
  name: 'va',
  ...(desired === undefined ? {} : { desired }),
})
export const hpa = (desired: number, current: number): Loose<WatchEvent> => ({
  kind: 'HorizontalPodAutoscaler',
  type: 'MODIFIED',
  name: 'hpa',
  desired,
  current,
  active: true,
  limited: false,
})
export const metric = (value: number | null): Loose<WatchEvent> => ({ kind: 'ExternalMetric', name: 'm', value })
export const deployment = (desired: number, ready: number): Loose<WatchEvent> => ({
  kind: 'Deployment',
  type: 'MODIFIED',
  name: 'decode',
  desired,
  replicas: desired,
  ready,
})
export const pod = (
  name: string,
  state: 'pending' | 'bound' | 'ready' | 'going' | 'gone',
): Extract<Loose<WatchEvent>, { kind: 'Pod' }> => ({
  kind: 'Pod',
  type: state === 'gone' ? 'DELETED' : 'MODIFIED',
  name,
  phase: state === 'pending' || state === 'bound' ? 'Pending' : 'Running',
  ready: state === 'ready' || state === 'going',
  gpus: 1,
  deleting: state === 'going' || state === 'gone',
  ...(state === 'pending' ? {} : { nodeName: 'n1' }),
})
export const scrape = (name: string, waiting: number): Loose<WatchEvent> => ({
  kind: 'Replica',
  name,
  waiting,
  running: 4,
  kvUsage: 0.5,
})

/** Steps of 120 s each, one after the other, at the given rates. */
export const stepsAt = (rates: readonly number[], seconds = 120) =>
  rates.map((rate, index) => stepOf([], { index, rate, seconds, begin: begin + index * seconds }))

/**
 * A scale-up from 1 to 2 and down again over the rates 1, 4, 1: a queue at 125 s, decided at 150 s, actuated at 230 s,
 * ready at 260 s, down at 350 s.
 */
export const scaleUp: readonly WatchEvent[] = [
  at(-20, deployment(1, 1)),
  at(-20, pod('a', 'ready')),
  at(-20, wva(1)),
  at(-20, hpa(1, 1)),
  at(-19, metric(1)),
  at(-15, scrape('a', 0)),
  at(125, scrape('a', 7)),
  at(130, scrape('a', 12)),
  at(150, wva(2)),
  at(155, metric(2)),
  at(230, hpa(2, 1)),
  at(230.5, deployment(2, 1)),
  at(231, pod('b', 'pending')),
  at(232, pod('b', 'bound')),
  at(260, pod('b', 'ready')),
  at(260.5, deployment(2, 2)),
  at(265, hpa(2, 2)),
  at(270, scrape('a', 3)),
  at(270, scrape('b', 2)),
  at(290, scrape('a', 0)),
  at(290, scrape('b', 0)),
  at(330, wva(1)),
  at(335, metric(1)),
  at(350, hpa(1, 2)),
  at(350.2, deployment(1, 1)),
  at(350.4, pod('b', 'going')),
  at(365, pod('b', 'gone')),
]

export const scaled = (index: number, change: Partial<Repeat> = {}): Repeat =>
  repeatOf(index, stepsAt([1, 4, 1]), { clockOffsetMs: offsetMs, events: [...scaleUp], ...change })
