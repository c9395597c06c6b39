import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Door } from './door.ts'
import { asFailure } from './errors.ts'
import { githubContext } from './github/event.ts'
import type { Inputs } from './inputs.ts'
import { openSession, readInputs } from './main.ts'
import type { Outcome, Session } from './modes/session.ts'
import { decidePost, parseState } from './state.ts'

/** The runner gives all always() and post steps of a cancelled job five minutes together. */
const postBudgetMs = 4.5 * 60_000

/**
 * The second half of a step, also after a failed, cancelled or killed main: removes what main could not. It warns and
 * never fails the job: main has already decided that.
 */
export async function post(
  door: Door,
  env: Readonly<Record<string, string | undefined>>,
  saved: string,
): Promise<void> {
  try {
    const state = parseState(saved)
    const inputs = await readInputs(door, env, [])
    const task = decidePost(state, {
      dryRun: inputs.dryRun,
      ...(inputs.mode === 'standup' ? { lifetime: inputs.lifetime } : {}),
    })
    if (task.kind === 'nothing') {
      door.log.info(`post: nothing to do (${task.why})`)
      return
    }
    const signal = AbortSignal.timeout(postBudgetMs)
    const session = await openSession(door, env, inputs, signal, githubContext(env), () => undefined, state)
    if (task.kind === 'finish-teardown') return await finishTeardown(door, session, task.publish)
    const { openCluster } = await import('./modes/session.ts')
    const api = await openCluster(inputs.kubeconfig!, inputs.context, session)
    try {
      switch (task.kind) {
        case 'remove-stack':
          await (await import('./modes/clean.ts')).removeOwnStack(api, session)
          break
        case 'remove-harness':
          await (await import('./modes/clean.ts')).removeHarness(api, session)
          if (task.publish) await publishCheckpoint(door, session)
          break
      }
    } finally {
      await api.close()
    }
  } catch (error) {
    const failure = asFailure(error)
    door.log.warning(`post: ${failure.what} ${failure.why} Next: ${failure.next}`)
    if (error instanceof Error) door.log.debug(error.stack ?? error.message)
  }
}

async function finishTeardown(door: Door, session: Session<Inputs>, publishIt: boolean): Promise<void> {
  if (session.inputs.mode !== 'teardown') return
  const { teardown } = await import('./modes/teardown.ts')
  const outcome = await teardown(session as Session<typeof session.inputs>)
  if (publishIt) await (await import('./publish.ts')).publish(door, session, outcome)
  if (outcome.failure) door.log.warning(`post: ${outcome.failure.what} ${outcome.failure.why}`)
}

/** Repeats that were finished before the step was cancelled are on disk: they go into the artifact and the comment. */
async function publishCheckpoint(door: Door, session: Session<Inputs>): Promise<void> {
  const { checkLeg } = await import('./results/schema.ts')
  const text = await readFile(path.join(session.out, 'leg.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return
  const checked = checkLeg(JSON.parse(text))
  if ('problems' in checked) return
  const leg =
    checked.leg.status === 'done' && checked.leg.failure === undefined
      ? { ...checked.leg, status: 'cancelled' as const }
      : checked.leg
  const outcome: Outcome = {
    outputs: {},
    leg,
    ...(leg.repeats.length > 0 ? { resultsFolder: path.join(session.out, 'results') } : {}),
  }
  await (await import('./publish.ts')).publish(door, session, outcome)
}
