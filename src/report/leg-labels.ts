import { md } from './escape.ts'
import { count, plural } from './format.ts'
import { type LegView, recorded } from './legs.ts'

/** One leg without and one under the autoscaler: what they are says more than what the matrix called them. */
const isPair = (views: readonly LegView[]): boolean => views.length === 2 && views[0]!.wva !== views[1]!.wva

/** A leg in a table or within a sentence; escaped. */
export const labelOf = (view: LegView, views: readonly LegView[]): string =>
  isPair(views) ? (view.wva ? 'WVA' : 'baseline') : md(view.name, 40) || 'leg'

/** A leg at the begin of a sentence; escaped. */
export const titleOf = (view: LegView, views: readonly LegView[]): string =>
  views.length === 1 || isPair(views) ? (view.wva ? 'WVA leg' : 'Baseline') : `Leg ${md(view.name, 80)}`

/** `2 replicas`, or under the autoscaler `1 to 10 replicas`; undefined where nobody has recorded it. */
export function sizeOf(view: LegView): string | undefined {
  if (view.wva) {
    const maxReplicas = recorded(view, 'maxReplicas')
    return maxReplicas === undefined ? undefined : `1 to ${plural(maxReplicas, 'replica')}`
  }
  const replicas = recorded(view, 'replicas')
  return replicas === undefined ? undefined : plural(replicas, 'replica')
}

/** Asked for and finished: `4 repeats`, or `**3 of 4 repeats**`. */
export function repeatsText(view: LegView): string {
  const { done, asked } = repeatsOf(view)
  return done === asked ? plural(asked, 'repeat') : `**${count(done)} of ${plural(asked, 'repeat')}**`
}

export function repeatsOf({ measured }: LegView): { readonly done: number; readonly asked: number } {
  if (measured === undefined) return { done: 0, asked: 0 }
  const { done, failed } = measured.summary
  return {
    done: done.length,
    asked: Math.max(measured.document.identity.workload?.repeats ?? 0, done.length + failed.length),
  }
}
