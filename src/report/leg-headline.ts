import type { LegDocument } from '../results/schema.ts'
import type { StepSummary } from '../results/summarise.ts'
import { invalidText } from './chain-breaks.ts'
import { md } from './escape.ts'
import { count, share, written } from './format.ts'
import { repeatsText, sizeOf, titleOf } from './leg-labels.ts'
import type { LegView } from './legs.ts'

/** Characters of a failure's sentence in a headline. */
export const headlineText = 200

const stageNames: Readonly<Record<LegDocument['stage'], string>> = {
  standup: 'stand-up',
  run: 'run',
  teardown: 'teardown',
}

/** Whether a leg's headline says what failed, because there is nothing else to say. */
export const headlineTells = ({ failure, measured }: LegView): boolean =>
  failure !== undefined && (measured === undefined || failure.stage === 'standup')

/** `stand-up failed (IMAGE_PULL)`; the sentence of the failure is `what`, when it is to be told too. */
export function failedText({ stage, status, failure }: NonNullable<LegView['failure']>, what?: number): string {
  if (status === 'cancelled') return `${stageNames[stage]} was cancelled`
  if (failure === undefined) return `${stageNames[stage]} failed`
  return `${stageNames[stage]} failed (${failure.code})${what === undefined ? '' : `: ${md(failure.what, what)}`}`
}

/** The headline of one leg among `views`. */
export function legHeadline(view: LegView, views: readonly LegView[]): string {
  const title = titleOf(view, views)
  const { failure, measured, broken } = view
  if (failure !== undefined && headlineTells(view))
    return `${failure.status === 'cancelled' ? '⏹️' : '❌'} ${title}: ${failedText(failure, headlineText)}`
  if (measured === undefined)
    return `⏳ ${title}: ${view.stages.standup?.status === 'done' ? 'stood up, ' : ''}nothing measured yet`
  const { steps, failed } = measured.summary
  const offered = total(steps, 'offered')
  const completed = total(steps, 'completed')
  const errored = total(steps, 'errored') ?? 0
  const size = sizeOf(view)
  const what = [...(size === undefined ? [] : [size]), ratesText(steps), repeatsText(view)].join(', ')
  const part =
    completed === null || !offered
      ? ''
      : `; ${share(completed, offered)} of ${count(offered)} offered requests completed`
  const errors = errored > 0 ? `, **${count(errored)} failed**` : ''
  const cancelled = failure?.status === 'cancelled'
  const mark = broken.length > 0 ? '🚫' : cancelled ? '⏹️' : failed.length + errored > 0 ? '⚠️' : '📏'
  const invalid = broken.length > 0 ? ` INVALID (${invalidText(broken)}),` : ''
  return `${mark} ${title}${invalid} measured${cancelled ? ' until it was cancelled' : ''}: ${what}${part}${errors}`
}

/** Sum over steps; null as soon as one step has no data. */
export const total = (steps: readonly StepSummary[], id: string): number | null =>
  steps.reduce<number | null>(
    (sum, { values }) => (sum === null || typeof values[id] !== 'number' ? null : sum + values[id]),
    0,
  )

/** `1 to 8 req/s`; where the load goes up and down, every rate in order, as long as they are few. */
export function ratesText(steps: readonly Pick<StepSummary, 'rate'>[]): string {
  const rates = steps.map(step => step.rate)
  if (rates.length === 0) return 'no rate'
  const [low, high] = rates.reduce(([l, h], rate) => [Math.min(l, rate), Math.max(h, rate)], [rates[0]!, rates[0]!])
  if (low === high) return `${written(low)} req/s`
  const comesBack = rates.some((rate, i) => i > 0 && rate < rates[i - 1]!)
  if (comesBack && rates.length <= 8) return `${rates.map(written).join(', ')} req/s`
  return `${written(low)} to ${written(high)} req/s`
}
