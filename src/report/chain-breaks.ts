import type { ChainLink, Repeat } from '../results/schema.ts'
import { secondsOf } from '../timeline/replica-states.ts'
import { md } from './escape.ts'
import { count, figure, plural } from './format.ts'
import { listed } from './limits.ts'

const linkNames: Readonly<Record<ChainLink, string>> = {
  controller: 'the WVA controller',
  metrics: 'the metrics that WVA reads',
  decision: 'the decision of WVA',
  'external-metric': 'the external metric',
  hpa: 'the HPA',
}

/** `132 s after the load began`; a repeat without load counts from its start. */
function momentOf(repeat: Repeat, at: number): string {
  const seconds = Math.round(secondsOf(repeat, at))
  const what = repeat.steps.length > 0 ? 'the load' : 'the repeat'
  return `${figure(Math.abs(seconds))} s ${seconds < 0 ? 'before' : 'after'} ${what} began`
}
const earliest = (repeat: Repeat) => repeat.chainBreaks!.reduce((first, other) => (other.at < first.at ? other : first))

/** The first break of the first broken repeat, and how many repeats more: for a headline. */
export function invalidText(broken: readonly Repeat[]): string {
  const [first] = broken
  const { link, at } = earliest(first!)
  const rest = broken.length - 1
  return `${linkNames[link]} broke in repeat ${first!.index}, ${momentOf(first!, at)}${rest > 0 ? `, also in ${plural(rest, 'more repeat')}` : ''}`
}

/** Which repeats are invalid, which link broke, since when, and why. `brief` where several legs share a comment. */
export function invalidLines(broken: readonly Repeat[], brief: boolean): string {
  const lines = broken.slice(0, brief ? 3 : listed).map(repeat => {
    const { link, at, why } = earliest(repeat)
    const others = new Set(repeat.chainBreaks!.map(other => other.link))
    others.delete(link)
    const also = others.size === 0 ? '' : ` Later also ${[...others].map(other => linkNames[other]).join(', ')}.`
    return `- Repeat ${repeat.index}, ${momentOf(repeat, at)}: ${linkNames[link]} broke. ${md(why, brief ? 200 : 400)}${also}`
  })
  const rest = broken.length - lines.length
  return [
    '🚫 **INVALID:** under load the chain from WVA to the replicas broke, so this is not a measurement of WVA. The figures hold these repeats too.',
    '',
    ...lines,
    ...(rest > 0 ? [`- … and ${count(rest)} more`] : []),
  ].join('\n')
}
