import { isLate, type Shortfall, shortfallOf } from './client.ts'
import { measure, type StepSample } from './metrics.ts'
import { mean } from './quantile.ts'
import { type ReadyReplicas, readyReplicas } from './replicas.ts'
import type { LegDocument, Repeat, Step } from './schema.ts'

/** The figures of one step, by metric id; null is "no data". */
export interface StepFigures {
  readonly values: Readonly<Record<string, number | null>>
  readonly ready: ReadyReplicas | null
}
export interface RepeatStep extends StepFigures {
  /** 1-based number of the repeat. */
  readonly repeat: number
  readonly shortfall: Shortfall
  /** Sent more than 50 ms after schedule at the 99th percentile. */
  readonly late: boolean
}
/** One position of the profile over all repeats of a leg. */
export interface StepSummary extends StepFigures {
  readonly index: number
  /** Requests per second over all pods. */
  readonly rate: number
  readonly seconds: number
  /** Repeats that measured it. */
  readonly n: number
  readonly sampled: boolean
  readonly perRepeat: readonly RepeatStep[]
}
export interface LegSummary {
  readonly steps: readonly StepSummary[]
  /** Repeats with all their figures. */
  readonly done: readonly Repeat[]
  readonly failed: readonly Repeat[]
}

/**
 * The figures of a leg, per step: counts are summed over repeats, percentiles are over the completed requests of all of
 * them, rates are per second of load. Failed repeats are left out and listed.
 */
export function summariseLeg(leg: Pick<LegDocument, 'repeats'>): LegSummary {
  const done = leg.repeats.filter(repeat => repeat.status === 'done')
  const steps = new Map<number, { repeat: Repeat; steps: Step[] }[]>()
  for (const repeat of done) {
    for (const [index, pods] of Map.groupBy(repeat.steps, step => step.index)) {
      steps.set(index, [...(steps.get(index) ?? []), { repeat, steps: pods }])
    }
  }
  return {
    steps: [...steps].sort(([a], [b]) => a - b).map(([index, measured]) => summariseStep(index, measured)),
    done,
    failed: leg.repeats.filter(repeat => repeat.status !== 'done'),
  }
}

function summariseStep(index: number, measured: readonly { repeat: Repeat; steps: readonly Step[] }[]): StepSummary {
  const all = sampleOf(
    measured.flatMap(m => m.steps),
    measured.length,
  )
  const perRepeat = measured.map(({ repeat, steps }): RepeatStep => {
    const begin = Math.min(...steps.map(step => step.begin))
    const end = Math.max(...steps.map(step => step.begin + step.seconds))
    return {
      repeat: repeat.index,
      values: measure(sampleOf(steps, 1)),
      ready: readyReplicas(repeat, begin, end),
      shortfall: steps.map(shortfallOf).find(s => s !== 'none') ?? 'none',
      late: steps.some(isLate),
    }
  })
  const ready = perRepeat.map(r => r.ready).filter(r => r !== null)
  return {
    index,
    rate: all.rate,
    seconds: all.seconds,
    n: measured.length,
    sampled: all.sampled,
    values: measure(all),
    ready:
      ready.length === 0
        ? null
        : {
            mean: mean(ready.map(r => r.mean))!,
            min: Math.min(...ready.map(r => r.min)),
            max: Math.max(...ready.map(r => r.max)),
          },
    perRepeat,
  }
}

/** Pods that load at once add up to the rate; repeats do not. */
function sampleOf(steps: readonly Step[], repeats: number): StepSample {
  return {
    rate: steps.reduce((sum, step) => sum + step.rate, 0) / repeats,
    seconds: steps[0]!.seconds,
    repeats,
    rows: steps.map(step => step.rows),
    sampled: steps.some(step => step.sampled),
  }
}
