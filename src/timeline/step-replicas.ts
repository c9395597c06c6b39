import {
  indexAt,
  type ReplicaChange,
  type ReplicaRecord,
  type ReplicaState,
  replicaChanges,
  stepWindows,
} from './replica-states.ts'

/** A count at the begin of a step, its highest value during the step, and at the end of it. */
export interface StartMaxEnd {
  readonly start: number
  readonly max: number
  readonly end: number
}
export interface StepReplicas {
  /** Position in the profile, from 0. */
  readonly index: number
  /** Requests per second over all harness pods. */
  readonly rate: number
  /** Since the begin of the first step, s. */
  readonly begin: number
  readonly end: number
  /** Replicas that WVA decided; null while nothing was known. */
  readonly desired: StartMaxEnd | null
  /** Pods that were ready. */
  readonly ready: StartMaxEnd | null
}

/** What the autoscaler wanted and what was ready, step by step. Where a step begins unknown, its first known value counts. */
export function stepReplicas(
  repeat: ReplicaRecord,
  changes: readonly ReplicaChange[] = replicaChanges(repeat),
): StepReplicas[] {
  return stepWindows(repeat).map(step => ({
    ...step,
    desired: startMaxEnd(changes, step, state => state.wva),
    ready: startMaxEnd(changes, step, state => state.ready),
  }))
}

function startMaxEnd(
  changes: readonly ReplicaChange[],
  { begin, end }: { readonly begin: number; readonly end: number },
  read: (state: ReplicaState) => number | undefined,
): StartMaxEnd | null {
  let found: { start: number; max: number; end: number } | undefined
  for (let i = Math.max(0, indexAt(changes, begin)); i < changes.length && changes[i]!.seconds < end; i++) {
    const value = read(changes[i]!.state)
    if (value === undefined) continue
    found ??= { start: value, max: value, end: value }
    found.max = Math.max(found.max, value)
    found.end = value
  }
  return found ?? null
}

/**
 * Time-weighted means of a count over equal parts of the load, from the first step's begin to the last one's end; null
 * where nothing is known.
 * @param cells how many parts, at least 1
 */
export function overTime(
  repeat: ReplicaRecord,
  changes: readonly ReplicaChange[],
  read: (state: ReplicaState) => number | undefined,
  cells: number,
): (number | null)[] {
  const length = stepWindows(repeat).reduce((last, step) => Math.max(last, step.end), 0)
  const weighted = new Float64Array(cells)
  const known = new Float64Array(cells)
  const width = length / cells
  for (const [i, change] of changes.entries()) {
    const value = read(change.state)
    const from = Math.max(0, change.seconds)
    const to = Math.min(length, changes[i + 1]?.seconds ?? length)
    if (value === undefined || to <= from) continue
    for (let cell = Math.floor(from / width); cell < cells && cell * width < to; cell++) {
      const part = Math.min(to, (cell + 1) * width) - Math.max(from, cell * width)
      if (part <= 0) continue
      weighted[cell]! += value * part
      known[cell]! += part
    }
  }
  return Array.from(weighted, (sum, cell) => (known[cell]! > 0 ? sum / known[cell]! : null))
}
