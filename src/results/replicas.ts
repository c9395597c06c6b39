import type { Repeat } from './schema.ts'

/** Ready replicas over a stretch of time: time-weighted mean, and the extremes. */
export interface ReadyReplicas {
  readonly mean: number
  readonly min: number
  readonly max: number
}

/**
 * Ready replicas of the decode Deployment from `begin` to `end` (epoch s, harness clock), from a repeat's watch events.
 * Before its first event the state is unknown: null when the whole stretch lies there, else the known part counts.
 */
export function readyReplicas(
  repeat: Pick<Repeat, 'events' | 'clockOffsetMs'>,
  begin: number,
  end: number,
): ReadyReplicas | null {
  const offset = repeat.clockOffsetMs ?? 0
  const changes = repeat.events
    .filter(event => event.kind === 'Deployment')
    .map(event => ({ at: (event.at + offset) / 1000, ready: event.type === 'DELETED' ? 0 : event.ready }))
    .sort((a, b) => a.at - b.at)
  let weighted = 0
  let known = 0
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (const [i, change] of changes.entries()) {
    const from = Math.max(begin, change.at)
    const to = Math.min(end, changes[i + 1]?.at ?? Number.POSITIVE_INFINITY)
    if (to <= from) continue
    weighted += change.ready * (to - from)
    known += to - from
    min = Math.min(min, change.ready)
    max = Math.max(max, change.ready)
  }
  return known === 0 ? null : { mean: weighted / known, min, max }
}
