import type { StepSummary } from '../results/summarise.ts'
import { written } from './format.ts'

type Position = Pick<StepSummary, 'index' | 'rate'>

/**
 * A step by its rate: `4`; where the profile comes back to a rate `2 ↑` on the way up and `2 ↓` on the way down; where
 * that does not tell them apart either, by position: `2 (step 4)`. `unit` stands behind the number.
 */
export function stepLabel(step: Position, all: readonly Position[], unit = ''): string {
  const rate = `${written(step.rate)}${unit}`
  const twins = all.filter(other => other.rate === step.rate)
  if (twins.length < 2) return rate
  // Three cannot be told apart by two directions, and a profile of thousands of equal rates must not take minutes.
  const arrows = twins.slice(0, 3).map(twin => arrowOf(twin, all))
  const distinct = new Set(arrows).size === twins.length && !arrows.includes(undefined)
  return distinct ? `${rate} ${arrowOf(step, all)}` : `${rate} (step ${step.index + 1})`
}

/** From the step before; a profile starts from no load. */
function arrowOf(step: Position, all: readonly Position[]): string | undefined {
  const before = all.reduce((last, other) => (other.index < step.index && other.index > last.index ? other : last), {
    index: -1,
    rate: 0,
  }).rate
  return step.rate > before ? '↑' : step.rate < before ? '↓' : undefined
}
