import { md } from './escape.ts'
import { failureEvidence, failureText } from './failure.ts'
import { figuresOfAll, figuresPerRepeat, figuresTable, loadNotes } from './figures.ts'
import { count, fold, plural } from './format.ts'
import { headlineTells, headlineText, legHeadline } from './headline.ts'
import type { LegView } from './legs.ts'
import { listed } from './limits.ts'
import { measuredTable, objectsText } from './measured.ts'
import type { Section } from './sections.ts'

/** Order in which parts are left out of a comment that is too long. */
const shed = { perRepeat: 1, allRates: 2, measured: 3, evidence: 4, figures: 5 } as const

/** Everything about one leg: what failed, the figures, what to know about them, and the folded rest. */
export function legSections(
  view: LegView,
  options: { readonly alone: boolean; readonly unfolded: boolean },
): Section[] {
  const sections: Section[] = []
  const { failure, measured } = view
  const brief = !options.alone
  if (!options.alone) sections.push({ text: `#### ${legHeadline(view, false)}` })
  if (failure?.failure !== undefined) {
    sections.push({
      text: failureText(failure.failure, {
        brief,
        told: headlineTells(view) && failure.failure.what.length <= headlineText,
      }),
    })
    const evidence = failureEvidence(failure.failure)
    if (evidence !== undefined) sections.push({ text: evidence, shed: shed.evidence, name: 'evidence' })
  }
  const torn = view.stages.teardown
  if (torn !== undefined && torn.status !== 'done') {
    const left = torn.leftovers.length > 0 ? ` Left on the cluster: ${objectsText(torn.leftovers)}.` : ''
    sections.push({
      text: `⚠️ **Teardown ${torn.status}.** ${torn.failure === undefined ? '' : failureText(torn.failure, { brief })}${left}`,
    })
  }
  if (measured !== undefined) {
    const { steps } = measured.summary
    if (steps.length > 0) {
      sections.push({
        text: figuresTable(options.alone ? (view.wva ? 'WVA' : 'baseline') : md(view.name, 80), steps),
        shed: shed.figures,
        name: 'figures of some legs',
      })
      sections.push({ text: legend(view, brief) })
    }
    const all = figuresOfAll(steps)
    if (all !== undefined)
      sections.push({
        text: fold(`All ${count(steps.length)} steps`, all),
        shed: shed.allRates,
        name: 'the table of all steps',
      })
  }
  const repeats = failedRepeats(view, brief)
  if (repeats !== '') sections.push({ text: repeats })
  if (
    measured !== undefined &&
    measured.summary.steps.length > 0 &&
    (measured.summary.done.length > 1 || options.unfolded)
  ) {
    const text = figuresPerRepeat(measured.summary.steps)
    sections.push({
      text: options.unfolded
        ? `#### Every repeat\n\n${text}`
        : fold(
            `Every repeat: ${plural(measured.summary.done.length, 'repeat')} of ${plural(measured.summary.steps.length, 'rate')}`,
            text,
          ),
      shed: shed.perRepeat,
      name: 'figures per repeat',
    })
  }
  sections.push({
    text: fold(measured === undefined ? 'What was to be measured' : 'What was measured', measuredTable(view)),
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
  if (carried.length > 0)
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
  return ['**Left out of the figures:**', ...lines, ...(rest > 0 ? [`- … and ${count(rest)} more`] : [])].join('\n')
}
