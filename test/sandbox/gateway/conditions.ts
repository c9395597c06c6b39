import type { KubeObject } from '../../../src/stack/kube.ts'

export interface Condition {
  type: string
  status: 'True' | 'False'
  reason: string
  message: string
  observedGeneration: number
  lastTransitionTime: string
}

/** A condition; the time of its last change is filled in by `withTimes`. */
export function condition(
  about: KubeObject,
  type: string,
  status: boolean,
  reason: string,
  message: string,
): Condition {
  return {
    type,
    status: status ? 'True' : 'False',
    reason,
    message,
    observedGeneration: about.metadata.generation ?? 1,
    lastTransitionTime: '',
  }
}

/**
 * The wanted status with times, or undefined when the live one says the same already: a condition whose status did not
 * change keeps its time, so that writing twice changes nothing.
 */
export function withTimes(
  live: unknown,
  wanted: Record<string, unknown>,
  now: string,
): Record<string, unknown> | undefined {
  const old = new Map(conditionsIn(live, '').map(([path, c]) => [path, c]))
  const timed = structuredClone(wanted)
  for (const [path, c] of conditionsIn(timed, '')) {
    const before = old.get(path)
    c.lastTransitionTime = before?.status === c.status ? before.lastTransitionTime : now
  }
  return contains(live, timed) ? undefined : timed
}

function conditionsIn(node: unknown, path: string): [string, Condition][] {
  if (typeof node !== 'object' || node === null) return []
  if ('lastTransitionTime' in node) return [[`${path}/${(node as Condition).type}`, node as Condition]]
  return Object.entries(node).flatMap(([key, value]) =>
    conditionsIn(value, Array.isArray(node) && 'type' in (value as object) ? path : `${path}/${key}`),
  )
}

/** Whether `live` has everything that `wanted` has, with lists of equal length. */
function contains(live: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return live === wanted
  if (typeof live !== 'object' || live === null) return false
  if (Array.isArray(wanted) && (live as unknown[]).length !== wanted.length) return false
  return Object.entries(wanted).every(([key, value]) => contains((live as Record<string, unknown>)[key], value))
}
