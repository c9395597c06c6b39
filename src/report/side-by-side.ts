import { stackDifferences } from '../results/comparable.ts'
import type { StepSummary } from '../results/summarise.ts'
import type { MeasuredView } from './compare-groups.ts'
import { md } from './escape.ts'
import { loadNotes, readyText, visibleSteps } from './figures.ts'
import { count, figure, noData, plural, share, table } from './format.ts'
import { labelOf } from './leg-labels.ts'
import type { LegView } from './legs.ts'
import { listed } from './limits.ts'
import { stepLabel } from './step-label.ts'

export interface AlignedStep {
  readonly position: Pick<StepSummary, 'index' | 'rate'>
  /** What each leg measured there; undefined where it did not. */
  readonly steps: readonly (StepSummary | undefined)[]
}

/** Steps of several legs by position in the profile, in its order. */
export function alignSteps(group: readonly MeasuredView[]): AlignedStep[] {
  const maps = group.map(({ measured }) => new Map(measured.summary.steps.map(step => [step.index, step])))
  const indexes = [...new Set(maps.flatMap(map => [...map.keys()]))].sort((a, b) => a - b)
  return indexes.map(index => {
    const steps = maps.map(map => map.get(index))
    return { position: steps.find(step => step !== undefined)!, steps }
  })
}

type Cell = (step: StepSummary) => string
const value =
  (id: string): Cell =>
  ({ values }) =>
    figure(values[id] ?? null)
const pair =
  (first: string, second: string): Cell =>
  step => {
    const cells = [value(first)(step), value(second)(step)]
    return cells.every(cell => cell === noData) ? noData : cells.join(' / ')
  }
const completed: Cell = ({ values: { completed: part, offered } }) =>
  typeof part !== 'number' || !offered ? noData : `${share(part, offered)} of ${count(offered)}`

const groups: readonly {
  readonly label: string
  readonly cell: Cell
  readonly when?: (step: StepSummary) => boolean
}[] = [
  { label: 'Completed of offered', cell: completed },
  { label: 'Failed', cell: step => count(step.values.errored ?? null), when: step => (step.values.errored ?? 0) > 0 },
  { label: 'TTFT p50 / p95, ms', cell: pair('ttft-p50', 'ttft-p95') },
  { label: 'ITL p50, ms', cell: value('itl-p50') },
  { label: 'Output, tok/s', cell: value('output-rate') },
  { label: 'Replicas ready', cell: step => readyText(step.ready) },
]

/**
 * Two legs in three columns, which is what a phone shows without scrolling: below each figure's name one row per step.
 * `all`: every step, not only the visible ones.
 */
export function sideBySide(
  two: readonly [MeasuredView, MeasuredView],
  views: readonly LegView[],
  options: { readonly all?: boolean } = {},
): string {
  const aligned = alignSteps(two)
  const positions = aligned.map(row => row.position)
  const shown = options.all ? aligned : visibleSteps(aligned)
  const rows = groups
    .filter(
      ({ when }) => when === undefined || aligned.some(({ steps }) => steps.some(s => s !== undefined && when(s))),
    )
    .flatMap(({ label, cell }) => [
      [`**${label}**`, '', ''],
      ...shown.map(({ position, steps }) => [
        stepLabel(position, positions),
        ...steps.map(step => (step === undefined ? noData : cell(step))),
      ]),
    ])
  const header = two.map(view => `${labelOf(view, views)}${view.broken.length > 0 ? ' (INVALID)' : ''}`)
  return table(['req/s', ...header], rows)
}

/** Below the tables: how to read them, and what to know about the load and the legs before believing them. */
export function sideBySideNotes(
  group: readonly MeasuredView[],
  views: readonly LegView[],
): { legend: string; notes: string } {
  const repeats = group.map(view => `${labelOf(view, views)} n = ${count(view.measured.summary.done.length)}`)
  const aligned = alignSteps(group)
  const hidden = aligned.length - visibleSteps(aligned).length
  const legend = [
    `Repeats: ${repeats.join(', ')}; requests are summed over them.`,
    'Latencies: completed requests only, one weight per request, TTFT from the send. Output: tokens of completed requests. Replicas: mean over time (min–max).',
    ...(hidden > 0
      ? [`${plural(hidden, 'step')} between the first and the last ones ${hidden === 1 ? 'is' : 'are'} folded below.`]
      : []),
    'Whether a difference is more than noise is not judged here.',
  ].join(' ')
  const [first, ...others] = group
  const notes = [
    ...others.flatMap(view => {
      const found = stackDifferences(first!.measured.document, view.measured.document)
      if (found.length === 0) return []
      const list = found
        .slice(0, listed)
        .map(({ field, values }) => `${md(field, 60)} (${md(values[0], 80)} and ${md(values[1], 80)})`)
      const rest = found.length - list.length
      return [
        `⚠️ More than the replicas differs between ${labelOf(first!, views)} and ${labelOf(view, views)}: ${list.join(', ')}${rest > 0 ? ` and ${count(rest)} more` : ''}.`,
      ]
    }),
    ...group.flatMap(view => {
      const { steps, done } = view.measured.summary
      const short = steps.filter(step => step.n !== done.length)
      return [
        ...(short.length > 0
          ? [
              `${plural(short.length, 'step')} measured in fewer repeats: n = ${Math.min(...short.slice(0, 1000).map(s => s.n))} at least.`,
            ]
          : []),
        ...loadNotes(steps, 4),
      ].map(line => `${labelOf(view, views)}: ${line}`)
    }),
  ]
  return { legend, notes: notes.join('\n\n') }
}
