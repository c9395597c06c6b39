import { workloadDifferences } from '../results/comparable.ts'
import { invalidText } from './chain-breaks.ts'
import { compareGroups, type MeasuredView } from './compare-groups.ts'
import { count, plural, share } from './format.ts'
import { failedText, headlineTells, headlineText, ratesText, total } from './leg-headline.ts'
import { labelOf, repeatsOf, sizeOf, titleOf } from './leg-labels.ts'
import type { LegView } from './legs.ts'
import { alignSteps } from './side-by-side.ts'
import { stepLabel } from './step-label.ts'

/** Legs that a headline names. */
const named = 4
/** Below this share of completed requests the latencies describe the survivors. */
const fewCompleted = 0.95

/**
 * Several legs in one line: first what failed or is invalid, then what stands side by side, with which share of the
 * offered requests each completed, and the worst exception. Figures, no judgement.
 */
export function comparedHeadline(views: readonly LegView[]): string {
  const invalid = views.filter(view => view.broken.length > 0)
  const failed = views.filter(headlineTells)
  const groups = compareGroups(views)
  const told = [
    ...invalid.slice(0, named).map(view => `${titleOf(view, views)} INVALID: ${invalidText(view.broken)}`),
    ...failed
      .slice(0, named)
      .map((view, i) => `${titleOf(view, views)}: ${failedText(view.failure!, i === 0 ? headlineText : undefined)}`),
    ...[invalid, failed].flatMap(list => (list.length > named ? [`${count(list.length - named)} more such legs`] : [])),
    ...(groups.length > 1
      ? [`Not side by side: ${fieldsText(groups)} differ${differing(groups) === 1 ? 's' : ''}`]
      : []),
  ].map(sentence => sentence.replace(/[.…]*$/, end => end || '.'))
  const measured = groups.slice(0, named).map(group => groupText(group, views))
  const worrying = groups.some(group => group.some(view => exceptionOf(group, view, views) !== ''))
  const mark = invalid.length > 0 ? '🚫' : failed.length > 0 ? '❌' : groups.length > 1 || worrying ? '⚠️' : '📏'
  return `${mark} ${[...told, ...measured].join(' ')}`.trim()
}

const differing = (groups: readonly MeasuredView[][]): number => fieldsOf(groups).length
const fieldsOf = ([first, ...others]: readonly MeasuredView[][]): string[] => [
  ...new Set(others.flatMap(([head]) => workloadDifferences(first![0]!.measured, head!.measured).map(d => d.field))),
]
const fieldsText = (groups: readonly MeasuredView[][]): string => fieldsOf(groups).join(', ')

/** `Baseline (2 replicas) completed 90.8 %, WVA (1 to 10 replicas) 97.2 % of the requests offered at 1 to 8 req/s, …` */
function groupText(group: readonly MeasuredView[], views: readonly LegView[]): string {
  const parts = group.slice(0, named).map((view, i) => {
    const { steps } = view.measured.summary
    const [completed, offered] = [total(steps, 'completed'), total(steps, 'offered')]
    const size = sizeOf(view)
    const label = capital(labelOf(view, views), i === 0)
    return `${label}${size === undefined ? '' : ` (${size})`}${i === 0 ? ' completed' : ''} ${completed === null || !offered ? 'an unknown share' : share(completed, offered)}`
  })
  const more = group.length - parts.length
  const steps = group[0]!.measured.summary.steps
  const exception = group.map(view => exceptionOf(group, view, views)).find(text => text !== '') ?? lowest(group)
  return `${parts.join(', ')}${more > 0 ? `, ${plural(more, 'more leg')}` : ''} of the requests offered at ${ratesText(steps)}, ${repeats(group)}${exception}.`
}

/** Our own labels only: a name is shown as it is. */
const capital = (label: string, first: boolean): string => (first && label === 'baseline' ? 'Baseline' : label)

function repeats(group: readonly MeasuredView[]): string {
  const all = group.map(repeatsOf)
  const same = all.every(({ done, asked }) => done === all[0]!.done && asked === all[0]!.asked)
  const { done, asked } = all[0]!
  if (same && done === asked) return `${plural(asked, 'repeat')}${group.length > 1 ? ' each' : ''}`
  if (all.every(r => r.done === r.asked))
    return `${all
      .slice(0, named)
      .map(r => count(r.done))
      .join(' and ')} repeats`
  return `**${all
    .slice(0, named)
    .map(r => `${count(r.done)} of ${count(r.asked)}`)
    .join(' and ')} repeats**`
}

/** The worst that is known of a measured leg; empty when there is nothing. */
function exceptionOf(group: readonly MeasuredView[], view: MeasuredView, views: readonly LegView[]): string {
  const { steps, done, failed } = view.measured.summary
  const of = group.length > 1 ? `${labelOf(view, views)}: ` : ''
  const errored = total(steps, 'errored') ?? 0
  const carried = done.filter(repeat => repeat.carriedOver).length
  if (view.failure?.status === 'cancelled' && !headlineTells(view)) return `; ${of}**cancelled**`
  if (failed.length > 0) return `; ${of}**${plural(failed.length, 'repeat')} failed**`
  if (errored > 0) return `; ${of}**${plural(errored, 'request')} failed**`
  if (carried > 0) return `; ${of}**${plural(carried, 'repeat')} carried over**`
  return ''
}

/** The step at which the smallest share of some leg completed, when that is a small one; what every leg had there. */
function lowest(group: readonly MeasuredView[]): string {
  const rows = alignSteps(group).map(({ position, steps }) => ({
    position,
    shares: steps.map(step => {
      const { completed, offered } = step?.values ?? {}
      return typeof completed === 'number' && offered ? ([completed, offered] as const) : undefined
    }),
  }))
  const least = (shares: (typeof rows)[number]['shares']): number =>
    shares.reduce((low, s) => (s === undefined ? low : Math.min(low, s[0] / s[1])), 1)
  const worst = rows.reduce((low, row) => (least(row.shares) < least(low.shares) ? row : low), rows[0]!)
  if (worst === undefined || least(worst.shares) >= fewCompleted) return ''
  const at = stepLabel(
    worst.position,
    rows.map(row => row.position),
    ' req/s',
  )
  const shares = worst.shares.slice(0, named).map(s => (s === undefined ? 'no data' : share(s[0], s[1])))
  return `; at ${at} ${shares.join(' and ')}`
}
