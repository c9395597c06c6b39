import type { KubeObject } from './kube.ts'

/** One entry of `status.conditions`. */
export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
  readonly observedGeneration?: number
}

/** Anything that should be a list of maps: what is not, is left out. What others write into a status is not trusted. */
export function records<T>(value: unknown): T[] {
  return Array.isArray(value) ? value.filter(v => typeof v === 'object' && v !== null) : []
}

export const conditionsOf = (holder: unknown): Condition[] =>
  records<Condition>((holder as { conditions?: unknown } | undefined | null)?.conditions)

export const conditionOf = (live: KubeObject, type: string): Condition | undefined =>
  conditionsOf(live.status).find(c => c.type === type)

/** False while a condition speaks of an older spec than the object has. */
export const isCurrent = (c: Condition | undefined, live: KubeObject): c is Condition =>
  c !== undefined && (c.observedGeneration === undefined || c.observedGeneration >= (live.metadata.generation ?? 0))

const quoteLimit = 300
const quoteHead = 140

/**
 * Foreign text as part of a sentence: one line, no control characters, at most 300 characters. A longer one loses its
 * middle: errors of Kubernetes begin with what was tried and end with the cause.
 */
export function quoted(text: unknown, instead: string): string {
  if (typeof text !== 'string') return instead
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim()
  if (line === '') return instead
  if (line.length <= quoteLimit) return line
  return `${line.slice(0, quoteHead)} ... ${line.slice(line.length - (quoteLimit - quoteHead - 5))}`
}

/** `Programmed is False: <message>`. */
export const conditionSentence = (c: Condition): string =>
  `${quoted(c.type, 'a condition')} is ${quoted(c.status, 'unknown')}: ${quoted(c.message, quoted(c.reason, 'no message'))}`

/** How often an event was seen. */
export function timesOf(event: KubeObject): number {
  const series = event.series as { count?: unknown } | undefined | null
  return Math.max(1, Number(event.count) || 0, Number(series?.count) || 0)
}

/** Events about one object, by reason. */
export const eventsOf = (
  events: readonly KubeObject[],
  kind: string,
  name: string,
  reasons: readonly string[],
): KubeObject[] =>
  events.filter(e => {
    const about = (e.involvedObject ?? e.regarding) as { kind?: string; name?: string } | undefined | null
    return about?.name === name && (about.kind ?? kind) === kind && reasons.includes(String(e.reason))
  })

/** Sum of the counts of several events. */
export const timesSeen = (events: readonly KubeObject[]): number => events.reduce((sum, e) => sum + timesOf(e), 0)
