import { workloadDifferences } from '../results/comparable.ts'
import { compareGroups, type MeasuredView } from './compare-groups.ts'
import { md } from './escape.ts'
import { figuresTable } from './figures.ts'
import { count, part } from './format.ts'
import { headlineTells } from './leg-headline.ts'
import { labelOf, titleOf } from './leg-labels.ts'
import { exceptions, type LegOptions, legFolds, legLines, legSections } from './leg-sections.ts'
import type { LegView } from './legs.ts'
import { listed, visibleRates } from './limits.ts'
import { type Section, shed } from './sections.ts'
import { alignSteps, sideBySide, sideBySideNotes } from './side-by-side.ts'

/**
 * Several legs: first those that failed, then per workload the legs that measured it side by side, two per table and the
 * first of them in each; what measured something else stands below with the fields that differ. At the end, the legs
 * of which nothing is known yet.
 */
export function comparisonSections(options: LegOptions): Section[] {
  const { views } = options
  const groups = compareGroups(views)
  const grouped = new Set<LegView>(groups.flat())
  const rest = views.filter(view => !grouped.has(view))
  const [first] = groups
  return [
    ...rest.filter(headlineTells).flatMap(view => legSections(view, options)),
    ...groups.flatMap(group => [
      ...(group === first ? [] : [{ text: differsText(first![0]!, group[0]!, views) }]),
      ...(group.length === 1 ? legSections(group[0]!, options) : compared(group, options, group === first)),
    ]),
    ...rest.filter(view => !headlineTells(view)).flatMap(view => legSections(view, options)),
  ]
}

function differsText(first: MeasuredView, other: MeasuredView, views: readonly LegView[]): string {
  const list = workloadDifferences(first.measured, other.measured)
    .slice(0, listed)
    .map(({ field, values }) => `${field} (${md(values[0], 80)} and ${md(values[1], 80)})`)
  return `⚠️ **Not side by side:** ${labelOf(first, views)} and ${labelOf(other, views)} did not measure the same. Different: ${list.join(', ')}.`
}

function compared(group: readonly MeasuredView[], options: LegOptions, main: boolean): Section[] {
  const { views, unfolded } = options
  const [first, ...others] = group as readonly [MeasuredView, ...MeasuredView[]]
  const { legend, notes } = sideBySideNotes(group, views)
  const steps = alignSteps(group).length
  const before = group.flatMap(view => {
    const found = exceptions(view, options)
    return found.length === 0 ? [] : [{ text: `#### ${titleOf(view, views)}` }, ...found]
  })
  return [
    ...before,
    ...(before.length > 0 || group.length < views.length ? [{ text: '#### Side by side' }] : []),
    ...others.map((other, i) => ({
      text: sideBySide([first, other], views),
      // The one table that everybody came for is never left out.
      ...(main && i === 0 ? {} : { shed: shed.figures, name: 'figures of some legs' }),
    })),
    { text: legend },
    ...(notes === '' ? [] : [{ text: notes, shed: shed.lists, name: 'notes on the load' }]),
    ...group.flatMap(view => legLines(view, options)),
    ...(steps <= visibleRates
      ? []
      : others.map(other => ({
          text: part(
            `All ${count(steps)} steps, ${labelOf(first, views)} and ${labelOf(other, views)}`,
            sideBySide([first, other], views, { all: true }),
            unfolded,
          ),
          shed: shed.allRates,
          name: 'the table of all steps',
        }))),
    ...group.flatMap(view => [
      {
        text: part(
          `${labelOf(view, views)}, all figures`,
          figuresTable(labelOf(view, views), view.measured.summary.steps),
          unfolded,
        ),
        shed: shed.allFigures,
        name: 'all figures of a leg',
      },
      ...legFolds(view, options),
    ]),
  ]
}
