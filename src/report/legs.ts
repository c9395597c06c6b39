import type { MeasuredLeg } from '../results/comparable.ts'
import type { FailureRecord, Identity, LegDocument, Repeat } from '../results/schema.ts'
import { type LegSummary, summariseLeg } from '../results/summarise.ts'

type Stage = LegDocument['stage']
const stages: readonly Stage[] = ['standup', 'run', 'teardown']

/** What is known of one leg, from the newest document of each stage. */
export interface LegView {
  readonly name: string
  readonly wva: boolean
  readonly simulated: boolean
  readonly stages: Readonly<Partial<Record<Stage, LegDocument>>>
  /** The document with figures, when a repeat was finished. */
  readonly measured: MeasuredLeg | undefined
  /** Repeats in which the autoscaling chain broke: any of them makes the leg invalid. */
  readonly broken: readonly Repeat[]
  /** What went wrong before or while measuring, in the newest attempt that says anything about that. */
  readonly failure:
    | { readonly stage: Stage; readonly status: 'failed' | 'cancelled'; readonly failure: FailureRecord | undefined }
    | undefined
  /** The newest document of all: identity and run are read from here. */
  readonly newest: LegDocument
}

/**
 * Groups documents by leg; of each stage the newest attempt wins, and of two documents of one attempt the later one. A
 * failed standup hides the figures of earlier attempts only from the headline. The order does not depend on the input's:
 * legs without WVA first, then by name.
 */
export function viewLegs(documents: readonly LegDocument[]): LegView[] {
  return [...Map.groupBy(documents, document => document.leg)]
    .map(([name, own]) => viewLeg(name, own))
    .sort((a, b) => Number(a.wva) - Number(b.wva) || compare(a.name, b.name))
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const newer = (a: LegDocument, b: LegDocument): number =>
  b.attempt - a.attempt ||
  Date.parse(b.createdAt) - Date.parse(a.createdAt) ||
  compare(JSON.stringify(a), JSON.stringify(b))

/** Documents never change, and the comment is rendered again for every leg that appears: a million rows are summed once. */
const summaries = new WeakMap<LegDocument, LegSummary>()
function summaryOf(run: LegDocument): LegSummary {
  const known = summaries.get(run) ?? summariseLeg(run)
  summaries.set(run, known)
  return known
}

function viewLeg(name: string, documents: readonly LegDocument[]): LegView {
  const byStage: Partial<Record<Stage, LegDocument>> = {}
  for (const stage of stages) {
    const found = documents.filter(d => d.stage === stage).sort(newer)[0]
    if (found !== undefined) byStage[stage] = found
  }
  const newest = [...documents].sort(
    (a, b) => b.attempt - a.attempt || stages.indexOf(b.stage) - stages.indexOf(a.stage) || newer(a, b),
  )[0]!
  const { standup, run } = byStage
  const summary = run && summaryOf(run)
  const decisive =
    standup !== undefined &&
    standup.status !== 'done' &&
    standup.attempt >= (run?.attempt ?? 0) &&
    !(run?.status === 'done' && run.attempt === standup.attempt)
      ? standup
      : run
  return {
    name,
    // A teardown that finds no stack any more does not know it.
    wva: documents.some(d => d.identity.wva),
    simulated: documents.some(d => d.simulated),
    stages: byStage,
    measured:
      run !== undefined && summary !== undefined && summary.done.length > 0 ? { document: run, summary } : undefined,
    broken: (run?.repeats ?? []).filter(repeat => (repeat.chainBreaks?.length ?? 0) > 0),
    failure:
      decisive === undefined || decisive.status === 'done'
        ? undefined
        : { stage: decisive.stage, status: decisive.status, failure: decisive.failure },
    newest,
  }
}

/** Nothing more will be said about this leg's figures. */
export const isFinished = (view: LegView): boolean =>
  view.measured !== undefined || view.failure !== undefined || view.stages.run !== undefined

/** A field of a leg's identity from the stage that knows it: what was measured, else what was stood up. */
export function recorded<F extends keyof Identity>(
  { stages: { run, standup, teardown } }: LegView,
  field: F,
): Identity[F] {
  return (run?.identity[field] ?? standup?.identity[field] ?? teardown?.identity[field]) as Identity[F]
}
