import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Door } from './door.ts'
import type { Inputs } from './inputs.ts'
import type { Outcome, Session } from './modes/session.ts'
import type { ReportInput } from './report/comment.ts'
import type { LegDocument } from './results/schema.ts'

/**
 * Publishes what is known: outputs, summary, artifacts, comment; each best effort, so that a failing one does not hide
 * the others. Nothing here fails the step.
 */
export async function publish(door: Door, session: Session<Inputs>, outcome: Outcome): Promise<void> {
  const { log, inputs } = session
  for (const [name, value] of Object.entries(outcome.outputs)) door.output(name, value)
  if (outcome.failure !== undefined) door.output('failure-code', outcome.failure.code)
  const { leg } = outcome
  if (leg === undefined) return
  const { renderComment } = await import('./report/comment.ts')
  const { renderSummary } = await import('./report/summary.ts')
  await writeFile(path.join(session.out, 'leg.json'), JSON.stringify(leg), { mode: 0o600 })
  door.output(
    'leg',
    JSON.stringify({ key: leg.key, leg: leg.leg, stage: leg.stage, attempt: leg.attempt, status: leg.status }),
  )
  // A job summary cannot be written again later, so it counts only legs that exist. After a run there is something to
  // compare: then it waits until the other legs' artifacts are read, unless there is no time left.
  const compares = leg.stage === 'run' && session.github !== undefined && !session.signal.aborted
  let known: readonly LegDocument[] = [leg]
  const summary = (): void => door.summary(renderSummary({ key: session.key, legs: known, links: {} }))
  if (!compares) summary()
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      log.warning(`${what} failed: ${(error as Error).message}`)
      return undefined
    }
  }
  const { publishToGithub } = await import('./github/publish.ts')
  const { expectedLegs } = await import('./github/strategy.ts')
  const expected = expectedLegs(inputs.strategy, inputs.matrix, [inputs.model, inputs.workload])
  const comment = (legs: readonly LegDocument[], links: ReportInput['links']): string =>
    renderComment({ key: session.key, legs, links, ...(expected === undefined ? {} : { expectedLegs: expected }) })
  const published = await attempt('publishing to GitHub', () =>
    publishToGithub({
      leg,
      key: session.key,
      out: session.out,
      log,
      signal: session.signal.aborted ? AbortSignal.timeout(6000) : session.signal,
      comment: inputs.comment === 'auto' && !inputs.dryRun,
      ...(outcome.resultsFolder === undefined ? {} : { resultsFolder: outcome.resultsFolder }),
      ...(session.github === undefined ? {} : { context: session.github }),
      ...(inputs.githubToken === undefined ? {} : { token: inputs.githubToken }),
      render: (legs, links) => {
        if (legs.length > 0) known = legs
        return comment(legs, links)
      },
    }),
  )
  if (compares) summary()
  const body = published?.body ?? comment([leg], {})
  await writeFile(path.join(session.out, 'comment.md'), body)
  if (published?.artifactName) door.output('artifact-name', published.artifactName)
  if (published?.artifactUrl) door.output('artifact-url', published.artifactUrl)
  if (published?.commentUrl) door.output('comment-url', published.commentUrl)
}
