import { comparedHeadline } from './compared-headline.ts'
import { md } from './escape.ts'
import { count, plural } from './format.ts'
import { headlineTells, legHeadline } from './leg-headline.ts'
import { isFinished, type LegView } from './legs.ts'

/** One line: what was measured and the worst exception, or what failed, or how far it is. No verdict. */
export function headline(views: readonly LegView[], expected: number): string {
  const finished = views.filter(isFinished)
  const simulated = views.some(view => view.simulated) ? 'SIMULATED: ' : ''
  if (finished.length < expected) {
    const names = finished.slice(0, 8).map(view => `${md(view.name, 80)}${stateOf(view)}`)
    return `${simulated}⏳ Benchmark running: ${count(finished.length)} of ${plural(expected, 'leg')} done${names.length === 0 ? '' : ` (${names.join(', ')})`}`
  }
  const [first] = views
  return simulated + (views.length === 1 && first !== undefined ? legHeadline(first, views) : comparedHeadline(views))
}

/** Legs of which the headline of a comparison has told the failure in full. */
export const toldInHeadline = (views: readonly LegView[], expected: number): readonly LegView[] =>
  views.length > 1 && views.filter(isFinished).length >= expected ? views.filter(headlineTells).slice(0, 1) : []

/** While other legs run, only that something is wrong; what it is stands below. */
const stateOf = (view: LegView): string =>
  view.broken.length > 0
    ? ' INVALID'
    : view.failure !== undefined && headlineTells(view)
      ? ` ${view.failure.status}`
      : ''
