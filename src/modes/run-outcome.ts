import type { Failure } from '../errors.ts'
import type { Repeat, Settled } from '../results/schema.ts'
import type { RunScaling } from './run-scaling.ts'

/** How a repeat came to its start, and what broke while it was loaded. */
export function withScaling(repeat: Repeat, scaling: RunScaling | undefined, settled: Settled | undefined): Repeat {
  if (scaling === undefined || settled === undefined) return repeat
  const chainBreaks = scaling.breaks(repeat, repeat.events)
  return {
    ...repeat,
    settled,
    carriedOver: settled.carriedOver !== undefined,
    ...(chainBreaks.length === 0 ? {} : { chainBreaks }),
  }
}

/** A leg in which the chain broke measured something else than WVA: its figures are published, its step fails. */
function chainFailure(repeats: readonly Repeat[]): Failure | undefined {
  const broken = repeats.filter(r => r.chainBreaks !== undefined)
  const [first] = broken
  const [cause] = first?.chainBreaks ?? []
  if (first === undefined || cause === undefined) return undefined
  return {
    code: 'WVA_CHAIN',
    what: `The autoscaling chain broke in ${broken.length} of ${repeats.length} repeats.`,
    why: `Repeat ${first.index}: ${cause.why}.`,
    next: 'These repeats say nothing about WVA. Look at the pods of the WVA controller, of prometheus-adapter and of Prometheus, then run again.',
    evidence: broken.flatMap(r => (r.chainBreaks ?? []).map(b => `repeat ${r.index}, ${b.link}: ${b.why}`)),
  }
}

/** The run fails when a repeat failed; what was measured is published all the same. */
function repeatsFailure(repeats: readonly Repeat[]): Failure | undefined {
  const failed = repeats.filter(r => r.status === 'failed')
  const first = failed[0]?.failure
  if (first === undefined) return undefined
  return {
    ...(first as Failure),
    what: `${failed.length} of ${repeats.length} repeats failed. First: ${first.what}`,
  }
}

/** Why a run that came to its end fails all the same. */
export const runFailure = (repeats: readonly Repeat[]): Failure | undefined =>
  repeatsFailure(repeats) ?? chainFailure(repeats)
