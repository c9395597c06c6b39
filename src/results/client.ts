import type { Step } from './step-schema.ts'

/** A shortfall of up to this share of what was offered, and of up to this many requests, is the edge of the step. */
const toleratedShare = 0.02
const toleratedRequests = 2
/** A client whose 99th percentile of lateness is above this sends another load than it was asked to, ms. */
export const lateMs = 50

/**
 * Who is to blame when a step holds fewer requests than rate x seconds. `unsent`: the in-flight limit was reached, so the
 * server held the client back. `client saturated`: it was not, so the load generator was too slow.
 */
export type Shortfall = 'none' | 'unsent' | 'client saturated'

export function shortfallOf(step: Step): Shortfall {
  if (step.sampled) return 'none'
  const offered = step.rate * step.seconds
  const missing = offered - step.rows.scheduled.length
  if (missing <= Math.max(offered * toleratedShare, toleratedRequests)) return 'none'
  return step.maxConcurrency !== null && peakInFlight(step) >= step.maxConcurrency ? 'unsent' : 'client saturated'
}

export const isLate = (step: Step): boolean => step.sendLagP99Ms !== null && step.sendLagP99Ms > lateMs

/** Most requests in flight at any time; one that was cut off counts until the end of the step. */
export function peakInFlight(step: Step): number {
  const changes: [number, number][] = []
  for (const [i, sent] of step.rows.sent.entries()) {
    if (sent === null) continue
    changes.push([sent, 1], [step.rows.end[i] ?? step.seconds, -1])
  }
  // At equal times ends come first: a slot that is handed on is one slot.
  changes.sort(([a, x], [b, y]) => a - b || x - y)
  let now = 0
  let peak = 0
  for (const [, change] of changes) {
    now += change
    peak = Math.max(peak, now)
  }
  return peak
}
