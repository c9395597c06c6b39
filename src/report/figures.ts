import { type Metric, metrics } from '../results/metrics.ts'
import type { ReadyReplicas } from '../results/replicas.ts'
import type { StepFigures, StepSummary } from '../results/summarise.ts'
import { count, figure, noData, plural, table } from './format.ts'
import { visibleRates } from './limits.ts'
import { stepLabel } from './step-label.ts'

/** Rows of the table in the comment; request latency p95 is in the folded ones only. */
const shown = new Set([
  'offered',
  'completed',
  'incomplete',
  'errored',
  'ttft-p50',
  'ttft-p95',
  'itl-p50',
  'itl-p95',
  'latency-p50',
  'output-rate',
])
const notes: Readonly<Record<string, string>> = { incomplete: ' (cut off at the end of the step)' }

/** In tables of many columns; what is true of all of them is said once, above. */
const shortLabel = (metric: Metric): string => `${metric.label}${metric.unit === '' ? '' : `, ${metric.unit}`}`
const labelOf = (metric: Metric): string =>
  `${shortLabel(metric)}${metric.completedOnly ? ' (completed only)' : (notes[metric.id] ?? '')}`

function cell(metric: Metric, { values }: StepFigures): string {
  const value = values[metric.id] ?? null
  if (metric.kind !== 'count') return figure(value)
  const scheduled = values.scheduled ?? null
  const differs = metric.id === 'offered' && scheduled !== null && value !== null && Math.round(value) !== scheduled
  return differs ? `${count(value)} (${count(scheduled)} scheduled)` : count(value)
}

/** `2`, or `1.3 (1–2)` where it changed. */
export const readyText = (ready: ReadyReplicas | null): string =>
  ready === null
    ? noData
    : ready.min === ready.max
      ? count(ready.min)
      : `${figure(ready.mean)} (${count(ready.min)}–${count(ready.max)})`

/** `4 req/s`, with n where repeats are missing. */
function headerOf(step: StepSummary, all: readonly StepSummary[]): string {
  const uneven = all.some(other => other.n !== step.n)
  return `${stepLabel(step, all, ' req/s')}${uneven ? ` (n = ${step.n})` : ''}`
}

function tableOf(
  title: string,
  steps: readonly StepSummary[],
  all: readonly StepSummary[],
  chosen: readonly Metric[],
): string {
  return table(
    [title, ...steps.map(step => headerOf(step, all))],
    [
      ...chosen.map(metric => [labelOf(metric), ...steps.map(step => cell(metric, step))]),
      ['Replicas ready, mean (min–max)', ...steps.map(step => readyText(step.ready))],
    ],
  )
}

/** Of more steps than fit, the first and the last. */
export const visibleSteps = <S>(steps: readonly S[]): readonly S[] =>
  steps.length <= visibleRates ? steps : [...steps.slice(0, visibleRates / 2), ...steps.slice(-visibleRates / 2)]

/** Rates as columns, the visible ones; `figuresOfAll` has the others. */
export function figuresTable(title: string, steps: readonly StepSummary[]): string {
  return tableOf(
    title,
    visibleSteps(steps),
    steps,
    metrics.filter(m => shown.has(m.id)),
  )
}

/** Steps as rows, every metric; undefined when the visible table already shows every step. */
export function figuresOfAll(steps: readonly StepSummary[]): string | undefined {
  if (steps.length <= visibleRates) return undefined
  const chosen = metrics.filter(m => shown.has(m.id))
  return table(
    ['Step', ...chosen.map(shortLabel), 'Replicas ready'],
    steps.map(step => [headerOf(step, steps), ...chosen.map(metric => cell(metric, step)), readyText(step.ready)]),
  )
}

/** One row per step and repeat: the spread that the summed table hides. */
export function figuresPerRepeat(steps: readonly StepSummary[]): string {
  const chosen = metrics.filter(m => m.id !== 'scheduled')
  return table(
    ['Rate', 'Repeat', ...chosen.map(shortLabel), 'Replicas ready'],
    steps.flatMap(step =>
      step.perRepeat.map(r => [
        headerOf(step, steps),
        String(r.repeat),
        ...chosen.map(m => cell(m, r)),
        readyText(r.ready),
      ]),
    ),
  )
}

/** What a reader must know about the load itself before believing the figures. One line each. */
export function loadNotes(steps: readonly StepSummary[], limit: number): string[] {
  const lines: string[] = []
  for (const step of steps) {
    const at = headerOf(step, steps)
    const repeats = (test: (r: StepSummary['perRepeat'][number]) => boolean): string => {
      const found = step.perRepeat.filter(test).map(r => r.repeat)
      return found.length === 0 ? '' : `${found.length === 1 ? 'repeat' : 'repeats'} ${found.slice(0, 20).join(', ')}`
    }
    const saturated = repeats(r => r.shortfall === 'client saturated')
    const unsent = repeats(r => r.shortfall === 'unsent')
    const late = repeats(r => r.late)
    if (step.sampled)
      lines.push(
        `⚠️ ${at}: the report holds a sample of the requests only; nothing is said per request. Set \`sample_requests\` to 0 or leave it out.`,
      )
    if (saturated !== '')
      lines.push(
        `⚠️ ${at}, ${saturated}: **client saturated**. The load generator sent fewer requests than asked, below its in-flight limit; its figures do not describe the server.`,
      )
    if (unsent !== '')
      lines.push(
        `⌛ ${at}, ${unsent}: requests were not sent because the in-flight limit was reached; the server was too slow.`,
      )
    if (late !== '') lines.push(`⚠️ ${at}, ${late}: requests were sent more than 50 ms late (99th percentile).`)
  }
  return lines.length <= limit
    ? lines
    : [...lines.slice(0, limit), `… and ${plural(lines.length - limit, 'more note')}.`]
}
