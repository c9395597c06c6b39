import { autoscalerLines, autoscalingOverTime } from './autoscaling.ts'
import { invalidLines } from './chain-breaks.ts'
import { md } from './escape.ts'
import { failureEvidence, failureText } from './failure.ts'
import { figuresOfAll, figuresPerRepeat, figuresTable, loadNotes } from './figures.ts'
import { count, part, plural } from './format.ts'
import { headlineTells, headlineText, legHeadline } from './leg-headline.ts'
import { labelOf, titleOf } from './leg-labels.ts'
import type { LegView } from './legs.ts'
import { listed } from './limits.ts'
import { measuredTable, objectsText } from './measured.ts'
import { type Section, shed } from './sections.ts'

export interface LegOptions {
  /** All legs of the comment. */
  readonly views: readonly LegView[]
  /** Those whose failure stands in the headline of the comment. */
  readonly told: readonly LegView[]
  readonly unfolded: boolean
}

/** Everything about one leg that stands by itself: what failed, the figures, what to know about them, the folded rest. */
export function legSections(view: LegView, options: LegOptions): Section[] {
  const { views, unfolded } = options
  const alone = views.length === 1
  const sections: Section[] = []
  if (!alone)
    sections.push({
      text: `#### ${options.told.includes(view) ? titleOf(view, views) : legHeadline(view, views)}`,
    })
  sections.push(...exceptions(view, options))
  const { measured } = view
  if (measured !== undefined && measured.summary.steps.length > 0) {
    const { steps } = measured.summary
    sections.push({
      text: figuresTable(alone ? (view.wva ? 'WVA' : 'baseline') : labelOf(view, views), steps),
      shed: shed.figures,
      name: 'figures of some legs',
    })
    sections.push({ text: legend(view, !alone) })
    const all = figuresOfAll(steps)
    if (all !== undefined)
      sections.push({
        text: part(`All ${count(steps.length)} steps`, all, unfolded),
        shed: shed.allRates,
        name: 'the table of all steps',
      })
  }
  return [...sections, ...legDetails(view, options)]
}

/** What went wrong with a leg: the failure, an invalid measurement, a teardown that left something. */
export function exceptions(view: LegView, { views }: LegOptions): Section[] {
  const brief = views.length > 1
  const { failure } = view
  const sections: Section[] = []
  if (failure?.failure !== undefined) {
    const told = headlineTells(view) && failure.failure.what.length <= headlineText
    sections.push({ text: failureText(failure.failure, { brief, told }) })
    const evidence = failureEvidence(failure.failure)
    if (evidence !== undefined) sections.push({ text: evidence, shed: shed.evidence, name: 'evidence' })
  }
  if (view.broken.length > 0)
    sections.push({ text: invalidLines(view.broken, brief), shed: shed.lists, name: 'lists of repeats' })
  const torn = view.stages.teardown
  if (torn !== undefined && torn.status !== 'done') {
    const left = torn.leftovers.length > 0 ? ` Left on the cluster: ${objectsText(torn.leftovers)}.` : ''
    sections.push({
      text: `⚠️ **Teardown ${torn.status}.** ${torn.failure === undefined ? '' : failureText(torn.failure, { brief })}${left}`,
    })
  }
  return sections
}

/** What stands below a leg's figures, in its own section or in a comparison: the autoscaler, every repeat, identity. */
export const legDetails = (view: LegView, options: LegOptions): Section[] => [
  ...legLines(view, options),
  ...legFolds(view, options),
]

/** A leg's own name is shown as it is; our words begin a title with a capital. */
const titled = (text: string, view: LegView, views: readonly LegView[]): string =>
  views.length === 1 ? text.replace(/^[a-z]/, letter => letter.toUpperCase()) : `${labelOf(view, views)}, ${text}`

/** What is to be seen without opening anything: what the autoscaler could do, and what is in no figure. */
export function legLines(view: LegView, { views }: LegOptions): Section[] {
  const sections: Section[] = []
  const lines = view.wva ? autoscalerLines(view) : ''
  if (lines !== '')
    sections.push({
      text: `**${titled('autoscaler', view, views)}**\n\n${lines}`,
      shed: shed.lists,
      name: 'lists of repeats',
    })
  const repeats = failedRepeats(view, views.length > 1)
  if (repeats !== '')
    sections.push({
      text: `**${titled('left out of the figures:', view, views)}**\n${repeats}`,
      shed: shed.lists,
      name: 'lists of repeats',
    })
  return sections
}

/** The folded rest of a leg. */
export function legFolds(view: LegView, { views, unfolded }: LegOptions): Section[] {
  const { measured } = view
  const sections: Section[] = []
  const time = view.wva ? autoscalingOverTime(view) : undefined
  if (time !== undefined)
    sections.push({
      text: part(titled(`replicas over time: ${time.conclusion}`, view, views), time.body, unfolded),
      shed: shed.overTime,
      name: 'replicas over time',
    })
  if (measured !== undefined && measured.summary.steps.length > 0 && (measured.summary.done.length > 1 || unfolded)) {
    const { done, steps } = measured.summary
    sections.push({
      text: part(
        titled(`every repeat: ${plural(done.length, 'repeat')} of ${plural(steps.length, 'rate')}`, view, views),
        figuresPerRepeat(steps),
        unfolded,
      ),
      shed: shed.perRepeat,
      name: 'figures per repeat',
    })
  }
  sections.push({
    text: part(
      titled(`what ${measured === undefined ? 'was to be measured' : 'was measured'}`, view, views),
      measuredTable(view),
      unfolded && views.length > 1,
    ),
    shed: shed.measured,
    name: 'what was measured',
  })
  return sections
}

function legend(view: LegView, brief: boolean): string {
  const { steps, done } = view.measured!.summary
  const n = [...new Set(steps.map(step => step.n))]
  const lines = [
    `Counts are sums over n = ${plural(n.length === 1 ? n[0]! : done.length, 'repeat')} of each rate; percentiles are of the requests that completed in all of them, one weight per request, TTFT from the send. Output counts the tokens of completed requests.`,
    ...loadNotes(steps, brief ? 4 : 12),
  ]
  const carried = done.filter(repeat => repeat.carriedOver).map(repeat => repeat.index)
  if (carried.length > 0 && !view.wva)
    lines.push(`⚠️ Repeats that did not start from the start state: ${carried.slice(0, 20).join(', ')}.`)
  return lines.join('\n\n')
}

/** Failed repeats with their cause; they are in no figure. */
function failedRepeats(view: LegView, brief: boolean): string {
  const failed = (view.stages.run?.repeats ?? []).filter(repeat => repeat.status !== 'done')
  if (failed.length === 0) return ''
  const lines = failed.slice(0, brief ? 3 : listed).map(repeat => {
    const cause =
      repeat.failure === undefined
        ? ''
        : `: \`${repeat.failure.code}\` ${md(repeat.failure.what, 300)}${brief ? '' : ` ${md(repeat.failure.why, 300)}`}`
    return `- Repeat ${repeat.index} ${repeat.status}${repeat.exitCode === undefined ? '' : `, exit code ${repeat.exitCode}`}${cause}`
  })
  const rest = failed.length - lines.length
  return [...lines, ...(rest > 0 ? [`- … and ${count(rest)} more`] : [])].join('\n')
}
