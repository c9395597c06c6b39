import type { LegDocument } from '../results/schema.ts'
import type { StepSummary } from '../results/summarise.ts'
import { md } from './escape.ts'
import { count, figure, plural, written } from './format.ts'
import { isFinished, type LegView } from './legs.ts'

/** Characters of a failure's sentence in a headline. */
export const headlineText = 200

const stageNames: Readonly<Record<LegDocument['stage'], string>> = {
  standup: 'stand-up',
  run: 'run',
  teardown: 'teardown',
}

/** `Baseline` when it is the only leg; otherwise the name that the matrix gave it. */
export const legTitle = (view: LegView, alone: boolean): string =>
  alone ? (view.wva ? 'WVA leg' : 'Baseline') : `Leg ${md(view.name, 80)}`

/** One line: what was measured and the worst exception, or what failed, or how far it is. No verdict. */
export function headline(views: readonly LegView[], expected: number): string {
  const finished = views.filter(isFinished)
  const simulated = views.some(view => view.simulated) ? 'SIMULATED: ' : ''
  if (finished.length < expected) {
    const names =
      finished.length === 0
        ? ''
        : ` (${finished
            .slice(0, 8)
            .map(view => md(view.name, 80))
            .join(', ')})`
    return `${simulated}⏳ Benchmark running: ${count(finished.length)} of ${plural(expected, 'leg')} done${names}`
  }
  const [first] = views
  if (views.length === 1 && first !== undefined) return simulated + legHeadline(first, true)
  const broken = views.filter(view => view.failure !== undefined)
  return `${simulated}${broken.length > 0 ? '⚠️' : '📏'} ${plural(views.length - broken.length, 'leg')} measured${
    broken.length === 0
      ? ''
      : `, ${count(broken.length)} failed (${broken
          .slice(0, 8)
          .map(view => md(view.name, 80))
          .join(', ')})`
  }`
}

/** Whether a leg's headline already says what failed. */
export const headlineTells = ({ failure, measured }: LegView): boolean =>
  failure !== undefined && (measured === undefined || failure.stage === 'standup')

/** The same for one leg. */
export function legHeadline(view: LegView, alone: boolean): string {
  const title = legTitle(view, alone)
  const { failure, measured } = view
  if (failure !== undefined && headlineTells(view)) {
    if (failure.status === 'cancelled') return `⏹️ ${title}: ${stageNames[failure.stage]} was cancelled`
    if (failure.failure === undefined) return `❌ ${title}: ${stageNames[failure.stage]} failed`
    return `❌ ${title}: ${stageNames[failure.stage]} failed (${failure.failure.code}): ${md(failure.failure.what, headlineText)}`
  }
  if (measured === undefined) return `⏳ ${title}: nothing measured yet`
  const { identity } = measured.document
  const { steps, done, failed } = measured.summary
  const offered = total(steps, 'offered')
  const completed = total(steps, 'completed')
  const errored = total(steps, 'errored') ?? 0
  const asked = Math.max(identity.workload?.repeats ?? 0, done.length + failed.length)
  const what = [
    ...(identity.replicas === undefined ? [] : [plural(identity.replicas, 'replica')]),
    ratesText(steps.map(step => step.rate)),
    done.length === asked ? plural(asked, 'repeat') : `**${count(done.length)} of ${plural(asked, 'repeat')}**`,
  ].join(', ')
  const share =
    completed === null || !offered
      ? ''
      : `; ${figure((100 * completed) / offered)} % of ${count(offered)} offered requests completed`
  const errors = errored > 0 ? `, **${count(errored)} failed**` : ''
  const cancelled = failure?.status === 'cancelled'
  const mark = cancelled ? '⏹️' : failed.length + errored > 0 ? '⚠️' : '📏'
  return `${mark} ${title} measured${cancelled ? ' until it was cancelled' : ''}: ${what}${share}${errors}`
}

/** Sum over steps; null as soon as one step has no data. */
const total = (steps: readonly StepSummary[], id: string): number | null =>
  steps.reduce<number | null>(
    (sum, { values }) => (sum === null || typeof values[id] !== 'number' ? null : sum + values[id]),
    0,
  )

function ratesText(rates: readonly number[]): string {
  if (rates.length === 0) return 'no rate'
  const [low, high] = [Math.min(...rates), Math.max(...rates)]
  return low === high ? `${written(low)} req/s` : `${written(low)} to ${written(high)} req/s`
}
