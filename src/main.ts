import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { actionDoor, cliDoor, type Door, stateKey } from './door.ts'
import { asFailure, type Failure } from './errors.ts'
import { type GithubContext, githubContext, refuseFork } from './github/event.ts'
import { holderOf, keyOf, legName } from './github/naming.ts'
import { profileName } from './inputs/profile-name.ts'
import { helpText, type Inputs, inputsFromArgv, inputsFromEnv, parseInputs, problemsToError } from './inputs.ts'
import type { Outcome, Session } from './modes/session.ts'
import type { StepState } from './state.ts'
import { version } from './version.ts'

type Env = Readonly<Record<string, string | undefined>>

/** Decides which door was opened and which half of the step this is; nothing but this runs on import. */
export async function start(argv: readonly string[], env: Env): Promise<void> {
  if (argv.length > 0) {
    const mode = argv.find(a => !a.startsWith('-'))
    if (argv.includes('--version')) process.stdout.write(`${version}\n`)
    else if (argv.includes('--help') || argv.includes('-h')) process.stdout.write(helpText(mode))
    else await main(cliDoor(env), env, argv)
    return
  }
  const door = actionDoor()
  if (door.getState(stateKey) === '') await main(door, env, [])
  else await (await import('./post.ts')).post(door, env, door.getState(stateKey))
}

/**
 * Reads the inputs of either door and masks every secret in them before anything is logged.
 * @throws UserError INPUT with all problems at once.
 */
export async function readInputs(door: Door, env: Env, argv: readonly string[]): Promise<Inputs> {
  const raw = door.kind === 'action' ? inputsFromEnv(env) : await inputsFromArgv(argv, env)
  const parsed = parseInputs(raw, { door: door.kind })
  for (const secret of parsed.secrets) door.mask(secret)
  if ('problems' in parsed) throw problemsToError(parsed.problems)
  return parsed.ok
}

/** What is true of a step whatever its mode: who it is, where it writes, whose stack it may touch. */
export async function openSession(
  door: Door,
  env: Env,
  inputs: Inputs,
  signal: AbortSignal,
  github: GithubContext | undefined,
  touch: () => void,
  state?: StepState,
): Promise<Session<Inputs>> {
  const leg = legName(inputs.matrix, inputs.mode === 'standup' ? inputs.wva : undefined)
  const out = state?.out ?? inputs.out ?? (await makeOut(env))
  await mkdir(out, { recursive: true })
  const runId = state?.runId ?? randomBytes(5).toString('hex')
  const holder = state?.holder ?? (github === undefined ? `cli/${runId}` : holderOf(github, leg))
  return {
    inputs,
    env,
    log: door.log,
    signal,
    out,
    github,
    runId,
    holder,
    leg,
    key: keyFor(inputs, github),
    attempt: github?.runAttempt ?? 1,
    touch,
  }
}

function keyFor(inputs: Inputs, github: GithubContext | undefined): string {
  return keyOf({
    profile: profileName(inputs.workload),
    model: inputs.model,
    workflow: github?.workflow ?? 'cli',
    ...(github?.prNumber === undefined ? {} : { prNumber: github.prNumber }),
  })
}

async function makeOut(env: Env): Promise<string> {
  return mkdtemp(path.join(env.RUNNER_TEMP ?? tmpdir(), 'bench-action-'))
}

async function runMode(session: Session<Inputs>): Promise<Outcome> {
  const { inputs } = session
  if (inputs.dryRun && inputs.mode === 'run') {
    return (await import('./modes/plan.ts')).planRun(session as Session<typeof inputs>)
  }
  if (inputs.dryRun && inputs.mode === 'standup' && inputs.kubeconfig === undefined) {
    return (await import('./modes/plan.ts')).planStandup(session as Session<typeof inputs>)
  }
  switch (session.inputs.mode) {
    case 'standup':
      return (await import('./modes/standup.ts')).standup(session as Session<typeof session.inputs>)
    case 'run':
      return (await import('./modes/run.ts')).run(session as Session<typeof session.inputs>)
    case 'teardown':
      return (await import('./modes/teardown.ts')).teardown(session as Session<typeof session.inputs>)
  }
}

/**
 * One step: read, mask, run the mode, publish what is known, fail last. SIGINT and SIGTERM abort the one signal that
 * every wait takes; what cannot be done in the few seconds that remain is left to post.
 */
export async function main(door: Door, env: Env, argv: readonly string[]): Promise<void> {
  const abort = new AbortController()
  const cancel = (name: string) => () => {
    door.log.info(`received ${name}: stopping`)
    abort.abort(Object.assign(new Error(`received ${name}`), { name: 'CancelledError' }))
  }
  const onInt = cancel('SIGINT')
  const onTerm = cancel('SIGTERM')
  process.on('SIGINT', onInt)
  process.on('SIGTERM', onTerm)
  let failure: Failure | undefined
  try {
    // Before anything of the kubeconfig is looked at: code of a fork must never run next to it.
    const context = door.kind === 'action' ? githubContext(env) : undefined
    if (context !== undefined) refuseFork(context)
    const inputs = await readInputs(door, env, argv)
    let state: StepState | undefined
    const save = (patch: Partial<StepState>) => {
      if (state === undefined) return
      state = { ...state, ...patch }
      door.saveState(stateKey, JSON.stringify(state))
    }
    const session = await openSession(door, env, inputs, abort.signal, context, () => save({ phase: 'touched' }))
    state = {
      version: 1,
      mode: inputs.mode,
      runId: session.runId,
      holder: session.holder,
      out: session.out,
      phase: 'started',
      published: false,
    }
    save({})
    const outcome = await runMode(session)
    failure = outcome.failure
    save({ phase: failure === undefined ? 'finished' : state.phase === 'started' ? 'started' : 'failed' })
    const { publish } = await import('./publish.ts')
    await publish(door, session, outcome)
    save({ published: true })
  } catch (error) {
    failure ??= asFailure(error)
    if (failure.code === 'INTERNAL')
      door.log.debug(error instanceof Error ? (error.stack ?? error.message) : String(error))
    door.output('failure-code', failure.code)
  } finally {
    process.off('SIGINT', onInt)
    process.off('SIGTERM', onTerm)
  }
  if (failure !== undefined) door.fail(failure)
}
