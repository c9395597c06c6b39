import type { LegDocument } from '../results/schema.ts'
import { md } from './escape.ts'
import { count, figure, plural, written } from './format.ts'
import { isFinished, type LegView } from './legs.ts'

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

/** The same for one leg. */
export function legHeadline(view: LegView, alone: boolean): string {
  const title = legTitle(view, alone)
  const { failure, measured } = view
  if (failure !== undefined && (measured === undefined || failure.stage === 'standup')) {
    if (failure.status === 'cancelled') return `⏹️ ${title}: ${stageNames[failure.stage]} was cancelled`
    const code = failure.failure === undefined ? '' : ` (${failure.failure.code})`
    return `❌ ${title}: ${stageNames[failure.stage]} failed${code}${failure.failure === undefined ? '' : `: ${md(failure.failure.what, 200)}`}`
  }
  if (measured === undefined) return `⏳ ${title}: nothing measured yet`
  const { steps, done, failed } = measured.summary
  const total = (id: string): number | null =>
    steps.reduce<number | null>(
      (sum, step) => (sum === null || step.values[id] == null ? null : sum + step.values[id]),
      0,
    )
  const offered = total('offered')
  const completed = total('completed')
  const errored = total('errored')
  const rates = steps.map(step => step.rate)
  const { replicas } = measured.document.identity
  const what = [
    ...(replicas === undefined ? [] : [plural(replicas, 'replica')]),
    rates.length === 0
      ? 'no rate'
      : rates.length === 1
        ? `${written(rates[0]!)} req/s`
        : `${written(Math.min(...rates))} to ${written(Math.max(...rates))} req/s`,
    failed.length === 0
      ? plural(done.length, 'repeat')
      : `**${count(done.length)} of ${plural(done.length + failed.length, 'repeat')}**`,
  ].join(', ')
  const share =
    completed === null || !offered
      ? ''
      : `; ${figure((100 * completed) / offered)} % of ${count(offered)} offered requests completed`
  const errors = errored ? `, **${count(errored)} failed**` : ''
  return `${failed.length + (errored ?? 0) > 0 ? '⚠️' : '📏'} ${title} measured: ${what}${share}${errors}`
}
