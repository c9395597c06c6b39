import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { Api } from '../cluster/api.ts'
import { explainApiError } from '../cluster/api-error.ts'
import { mergePatch } from '../cluster/objects.ts'
import { asFailure, type Failure, UserError } from '../errors.ts'
import { plannedSeconds, renderProfile, type Workload } from '../harness/profiles.ts'
import { tokenExpiry } from '../inputs/kubeconfig.ts'
import { profileName } from '../inputs/profile-name.ts'
import type { RunInputs } from '../inputs.ts'
import type { Repeat } from '../results/schema.ts'
import { expiresAnnotation, type Inventory, loadedAnnotation } from '../stack/inventory.ts'
import { inventoryName } from '../stack/kube.ts'
import { actingFor, ofStack } from './identity.ts'
import { legDocument, writeLeg } from './leg.ts'
import { keepLocks, keptSeconds, type Locks, resumeLocks } from './lock.ts'
import { mockTarget, templateOf } from './plan.ts'
import { checkRights, clusterFacts } from './preflight.ts'
import { runRepeat } from './repeat.ts'
import { inFlightLimit, type RepeatContext } from './repeat-context.ts'
import { findEndpoint, hasToken } from './run-endpoint.ts'
import { runFailure, withScaling } from './run-outcome.ts'
import { openScaling, type RunScaling } from './run-scaling.ts'
import { findInventory, noStack, type Outcome, openCluster, type Session, Timings } from './session.ts'
import { markKept } from './standup-end.ts'

/** Added to the planned load time of one repeat for pod start, tokenizer, drain and report. */
const repeatOverheadSeconds = 900

/**
 * Finds the stack's endpoint, checks that it serves the model, and runs guidellm `repeats` times, one after the other,
 * each from its own seed into its own folder. Results are fetched after every repeat: a cancelled step loses at most the
 * repeat in flight. A failed repeat is recorded and not retried.
 */
export async function run(given: Session<RunInputs>): Promise<Outcome> {
  const { inputs, log } = given
  let session = given
  // A profile that cannot be used is found out before the cluster is touched.
  const template = await templateOf(session)
  const name = profileName(inputs.workload)
  const render = (target: { url: string; model: string }) =>
    renderProfile(template, { target: target.url, model: target.model, name }, inputs.workloadOverrides, {
      seed: inputs.seed,
    })
  render({ url: mockTarget, model: inputs.model })
  const timings = new Timings()
  const repeats: Repeat[] = []
  const api = await openCluster(inputs.kubeconfig!, inputs.context, session)
  let stack: Inventory | undefined
  let workload: Workload | undefined
  let simulated = false
  let scaling: RunScaling | undefined
  let locks: Locks | undefined
  let kept = false
  const resultsFolder = path.join(session.out, 'results')
  const document = (failure?: Failure) =>
    legDocument(session, {
      stage: 'run',
      timings: timings.seconds,
      repeats,
      simulated,
      ...(stack ? { inventory: stack } : {}),
      ...(workload
        ? {
            workload,
            clientLimits: { maxConcurrency: inFlightLimit(workload), requestTimeoutSeconds: workload.secondsPerRate },
          }
        : {}),
      ...(scaling ? { reaction: scaling.reaction } : {}),
      ...(failure ? { failure } : {}),
    })
  try {
    const found = await findInventory(api, inputs.namespace.model, session.signal)
    if (found === undefined && inputs.endpoint.kind !== 'url') throw noStack(inputs.namespace.model)
    stack = found?.inventory
    await checkRights(
      api,
      'run',
      [inputs.namespace.model, inputs.namespace.harness],
      session.signal,
      log,
      stack?.autoscaling?.controllerNamespace,
    )
    const facts = await clusterFacts(api, stack?.accelerator, session.signal)
    simulated = facts.simulated
    if (simulated) log.info('SIMULATED cluster: figures of this run say nothing about real hardware')
    // The Lease is the first thing that this step writes.
    session.touch()
    if (stack !== undefined) {
      const owner = actingFor(ofStack(session, stack), stack)
      locks = await resumeLocks(api, stack, owner.session, { idleOnly: owner.idleOnly })
      session = { ...owner.session, signal: AbortSignal.any([session.signal, locks.lost]) }
    }
    const { signal } = session
    const target = await timings.measure('endpoint', () =>
      log.group('Endpoint', () => findEndpoint(api, session, stack, facts)),
    )
    const model = target.model
    const rendered = render(target)
    workload = rendered.profile
    const seconds = plannedSeconds(workload)
    log.info(
      `plan: ${inputs.repeats} repeats of ${workload.rates.length} rates (${workload.rates.join(', ')} req/s) x ${workload.secondsPerRate} s = at least ${Math.ceil((seconds * inputs.repeats) / 60)} min of load`,
    )
    refuseShortToken(inputs, seconds * inputs.repeats)
    scaling = await openScaling(api, session, stack, found?.object, workload)
    const repeatSeconds = seconds + repeatOverheadSeconds + (scaling === undefined ? 0 : settleSeconds(inputs))
    if (stack !== undefined)
      stack = await announceLoad(api, stack, Date.now() / 1000 + repeatSeconds * inputs.repeats + 3600, session)
    await mkdir(resultsFolder, { recursive: true })
    const hfSecret = await hasToken(api, inputs.namespace.harness, signal)
    const context: RepeatContext = {
      api,
      session,
      stack,
      model,
      target: target.url,
      resultsFolder,
      hfSecret,
      waitMs: inputs.waitTimeoutMs ?? (seconds + repeatOverheadSeconds) * 1000,
      template,
      profileName: name,
      workload,
      gpuNodesOnly: facts.gpuNodesOnly,
      openShift: facts.openShift,
    }
    for (let index = 1; index <= inputs.repeats; index++) {
      const settled =
        scaling && (await timings.measure('settle', () => log.group(`Start state of repeat ${index}`, scaling!.settle)))
      const repeat = await timings.measure('load', () =>
        log.group(`Repeat ${index} of ${inputs.repeats}`, () => runRepeat(context, index)),
      )
      repeats.push(withScaling(repeat, scaling, settled))
      await writeLeg(session, document())
      signal.throwIfAborted()
    }
    const failure = runFailure(repeats)
    if (failure !== undefined) kept = await keepAfterFailure(api, session, stack)
    const leg = document(failure)
    await writeLeg(session, leg)
    return {
      outputs: outputsOf(session, target.url, resultsFolder),
      leg,
      resultsFolder,
      ...(failure ? { failure } : {}),
    }
  } catch (error) {
    const failure = asFailure(explainApiError(error, 'running the benchmark'))
    kept = await keepAfterFailure(api, session, stack)
    const leg = document(failure)
    await writeLeg(session, leg)
    return { outputs: {}, failure, leg, ...(repeats.length > 0 ? { resultsFolder } : {}) }
  } finally {
    await scaling?.close()
    if (locks !== undefined && stack !== undefined) {
      // Between steps a Lease lasts minutes: whoever took it after them would remove what is kept to be looked at.
      const of = kept ? { ...stack, lifetime: 'ttl' as const } : stack
      await keepLocks(locks, keptSeconds(of, Date.now()), log)
    }
    await api.close()
  }
}

/** Tells post, as `keep-on-failure` asks, to leave the stack until its expiry. @returns whether it will */
async function keepAfterFailure(
  api: Api,
  { inputs, signal, log }: Session<RunInputs>,
  stack: Inventory | undefined,
): Promise<boolean> {
  // After a cancellation, or when the Lease was lost, the stack may be somebody else's.
  if (inputs.keepOnFailure === 'none' || stack === undefined || signal.aborted) return false
  return markKept(api, inputs.namespace.model, inputs.keepOnFailure, log)
}

const outputsOf = (session: Session<RunInputs>, endpoint: string, resultsFolder: string) => ({
  namespace: session.inputs.namespace.model,
  endpoint,
  'results-path': resultsFolder,
})

/** A token that dies in the middle of the load would cost GPU hours and leave the results in the pod. */
function refuseShortToken(inputs: RunInputs, loadSeconds: number): void {
  const expiry = inputs.kubeconfig && tokenExpiry(inputs.kubeconfig, inputs.context)
  if (expiry === undefined || expiry >= Date.now() + loadSeconds * 1000) return
  throw new UserError('PREFLIGHT', 'The token in the kubeconfig expires before the planned end of the run.', {
    why: `It is valid until ${new Date(expiry).toISOString()}; the load alone takes ${Math.ceil(loadSeconds / 60)} minutes.`,
    next: 'Use a token with a longer life (`kubectl create token NAME --duration=8h`), or fewer repeats.',
  })
}

/** Planned time of coming to the start state: a reset at default intervals, or as long as is waited. */
const settleSeconds = ({ settle }: RunInputs): number => (settle.kind === 'reset' ? 240 : settle.ms / 1000)

/**
 * Before the first load: the stack must not expire while it is being measured (planned end plus one hour), and it does
 * not stand any more where standup has proven it to.
 */
async function announceLoad(
  api: Api,
  stack: Inventory,
  endSeconds: number,
  session: Session<RunInputs>,
): Promise<Inventory> {
  const until = Math.max(Math.ceil(endSeconds), stack.expiresEpochSeconds)
  await mergePatch(
    api,
    'ConfigMap',
    session.inputs.namespace.model,
    inventoryName,
    { metadata: { annotations: { [expiresAnnotation]: String(until), [loadedAnnotation]: session.runId } } },
    session.signal,
  )
  return { ...stack, expiresEpochSeconds: until }
}
