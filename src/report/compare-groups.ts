import { type MeasuredLeg, sameWorkload } from '../results/comparable.ts'
import type { LegView } from './legs.ts'

export type MeasuredView = LegView & { readonly measured: MeasuredLeg }

/** Measured legs by workload, each group in the order of the views: what a group's others stand beside comes first. */
export const compareGroups = (views: readonly LegView[]): MeasuredView[][] =>
  sameWorkload(views.filter((view): view is MeasuredView => view.measured !== undefined && isShown(view)))

/** A leg whose newest standup failed has old figures; they are told, but do not stand for it. */
const isShown = (view: LegView): boolean => view.failure?.stage !== 'standup'
