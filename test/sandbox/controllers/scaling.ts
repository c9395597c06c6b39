/**
 * The arithmetic of the HorizontalPodAutoscaler controller (kubernetes/pkg/controller/podautoscaler, 1.35). Metric
 * values are in thousandths, as quantities are compared there; times are milliseconds.
 */
export interface ScalingPolicy {
  type: 'Pods' | 'Percent'
  value: number
  periodSeconds: number
}
export interface ScalingRules {
  stabilizationWindowSeconds?: number
  selectPolicy?: 'Max' | 'Min' | 'Disabled'
  policies?: readonly ScalingPolicy[]
  /** A quantity. */
  tolerance?: string | number
}
export interface Behavior {
  scaleUp: ScalingRules
  scaleDown: ScalingRules
}
/** How far the ratio of a value to its target may be from 1 without effect. */
export interface Tolerance {
  up: number
  down: number
}

/** What the controller remembers of one autoscaler. */
export interface History {
  readonly recommendations: readonly { readonly replicas: number; readonly at: number }[]
  /** Pods added (or, below zero, removed), one entry for each rescale. */
  readonly changes: readonly { readonly pods: number; readonly at: number }[]
}
export interface Reason {
  reason: string
  message: string
}
export interface Decision {
  replicas: number
  history: History
  ableToScale: Reason
  limited: Reason & { status: 'True' | 'False' }
}

/** The API server leaves this one to the controller. */
const defaultDownWindowSeconds = 300
const longestWindowMs = 3_600_000
const longestPeriodMs = 1_800_000

const isWithin = (ratio: number, { up, down }: Tolerance): boolean => 1 - down <= ratio && ratio <= 1 + up

/**
 * Replicas for a target of type AverageValue: the sum over the target, rounded up, unless the counted replicas carry it
 * within the tolerance. `average` is what the status shows; with no replica counted it is the sum itself.
 * @param counted `status.replicas` of the scale, not `spec.replicas`
 */
export function perPodReplicas(
  sum: number,
  target: number,
  counted: number,
  tolerance: Tolerance,
): { replicas: number; average: number } {
  const replicas = isWithin(sum / (target * counted), tolerance) ? counted : Math.ceil(sum / target)
  return { replicas, average: Math.ceil(sum / Math.max(1, counted)) }
}

/** Replicas for a target of type Value: the ready pods times the ratio, rounded up; from zero it is the ratio alone. */
export function valueReplicas(
  sum: number,
  target: number,
  current: number,
  ready: number,
  tolerance: Tolerance,
): number {
  const ratio = sum / target
  if (current === 0) return Math.ceil(ratio)
  return isWithin(ratio, tolerance) ? current : Math.ceil(ratio * ready)
}

/** The history of an autoscaler at its first sync: what it finds counts as recommended. */
export const firstHistory = (current: number, now: number): History => ({
  recommendations: [{ replicas: current, at: now }],
  changes: [],
})

export function rescaled(history: History, from: number, to: number, now: number): History {
  const recent = history.changes.filter(c => c.at > now - longestPeriodMs)
  return { ...history, changes: [...recent, { pods: to - from, at: now }] }
}

const remember = (history: History, replicas: number, now: number): History => {
  const recent = history.recommendations.filter(r => r.at > now - longestWindowMs)
  return { ...history, recommendations: [...recent, { replicas, at: now }] }
}

const up: Reason = {
  reason: 'ScaleUpStabilized',
  message: 'recent recommendations were lower than current one, applying the lowest recent recommendation',
}
const down: Reason = {
  reason: 'ScaleDownStabilized',
  message: 'recent recommendations were higher than current one, applying the highest recent recommendation',
}
const ready: Reason = { reason: 'ReadyForNewScale', message: 'recommended size matches current size' }
const inRange: Reason = {
  reason: 'DesiredWithinRange',
  message: 'the desired count is within the acceptable range',
}
const tooMany: Reason = {
  reason: 'TooManyReplicas',
  message: 'the desired replica count is more than the maximum replica count',
}
const tooFew: Reason = {
  reason: 'TooFewReplicas',
  message: 'the desired replica count is less than the minimum replica count',
}
const tooFast: Reason = {
  reason: 'ScaleUpLimit',
  message: 'the desired replica count is increasing faster than the maximum scale rate',
}
const tooFastDown: Reason = {
  reason: 'ScaleDownLimit',
  message: 'the desired replica count is decreasing faster than the maximum scale rate',
}

/** How many replicas the policies allow from here, in the direction of `sign`. */
function policyLimit(rules: ScalingRules, sign: 1 | -1, current: number, history: History, now: number): number {
  if (rules.selectPolicy === 'Disabled') return current
  const limits = (rules.policies ?? []).map(({ type, value, periodSeconds }) => {
    const changed = history.changes.filter(c => c.at > now - periodSeconds * 1000).reduce((sum, c) => sum + c.pods, 0)
    const start = current - changed
    if (type === 'Pods') return start + sign * value
    // Up is rounded up, so that one replica can grow by a few percent at all; down is cut off.
    const percent = start * (1 + (sign * value) / 100)
    return sign > 0 ? Math.ceil(percent) : Math.trunc(percent)
  })
  // Max is the largest change: the highest limit for up, the lowest for down.
  return (rules.selectPolicy !== 'Min') === sign > 0 ? Math.max(...limits) : Math.min(...limits)
}

export interface Situation {
  history: History
  current: number
  /** By the metrics. */
  proposed: number
  min: number
  max: number
  /** With the defaults of the API server filled in. */
  behavior?: Behavior | undefined
  now: number
}

/** From what the metrics propose to what is asked of the scale: windows first, then policies and bounds. */
export function decide(situation: Situation): Decision {
  const { history, proposed, now } = situation
  const stabilized = situation.behavior ? stabilize(situation, situation.behavior) : highest(situation)
  const { replicas, why } = situation.behavior
    ? bound(situation, situation.behavior, stabilized)
    : boundPlain(situation, stabilized)
  const direction = situation.behavior && proposed >= situation.current ? up : down
  return {
    replicas,
    history: remember(history, proposed, now),
    ableToScale: stabilized === proposed ? ready : direction,
    limited: { status: replicas === stabilized ? 'False' : 'True', ...why },
  }
}

/** Up to the lowest of the window for up, down to the highest of the window for down, else as it is. */
function stabilize({ history, current, proposed, now }: Situation, { scaleUp, scaleDown }: Behavior): number {
  const since = (seconds: number) => [
    proposed,
    ...history.recommendations.filter(r => r.at > now - seconds * 1000).map(r => r.replicas),
  ]
  const lowest = Math.min(...since(scaleUp.stabilizationWindowSeconds ?? 0))
  const top = Math.max(...since(scaleDown.stabilizationWindowSeconds ?? defaultDownWindowSeconds))
  return Math.min(Math.max(current, lowest), top)
}

/** An autoscaler without `behavior` knows one window only. */
function highest({ history, proposed, now }: Situation): number {
  const recent = history.recommendations.filter(r => r.at >= now - defaultDownWindowSeconds * 1000)
  return Math.max(proposed, ...recent.map(r => r.replicas))
}

interface Bound {
  replicas: number
  why: Reason
}

function bound(situation: Situation, behavior: Behavior, wanted: number): Bound {
  const { current, history, now, min, max } = situation
  if (wanted > current) {
    const limit = Math.max(current, policyLimit(behavior.scaleUp, 1, current, history, now))
    const most = Math.min(max, limit)
    if (wanted > most) return { replicas: most, why: max > limit ? tooFast : tooMany }
  }
  if (wanted < current) {
    const limit = Math.min(current, policyLimit(behavior.scaleDown, -1, current, history, now))
    const least = Math.max(min, limit)
    if (wanted < least) return { replicas: least, why: min < limit ? tooFastDown : tooFew }
  }
  return { replicas: wanted, why: inRange }
}

function boundPlain({ current, min, max }: Situation, wanted: number): Bound {
  const limit = Math.max(2 * current, 4)
  if (wanted < min) return { replicas: min, why: tooFew }
  if (wanted > Math.min(max, limit)) return { replicas: Math.min(max, limit), why: max > limit ? tooFast : tooMany }
  return { replicas: wanted, why: inRange }
}
