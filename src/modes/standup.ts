import type { Api } from '../cluster/api.ts'
import { explainApiError } from '../cluster/api-error.ts'
import { applyStack, refuseForeign } from '../cluster/apply.ts'
import { asFailure } from '../errors.ts'
import { modelAccess } from '../hub/model.ts'
import type { StandupInputs } from '../inputs.ts'
import { buildSpec, settingsOf } from '../paths/build.ts'
import { isScaler, restingReplicas } from '../stack/components/autoscaling.ts'
import type { KubeObject } from '../stack/kube.ts'
import { modelLabel, names, stackName } from '../stack/names.ts'
import type { StackSpec } from '../stack/spec.ts'
import { standingFor } from './identity.ts'
import { legDocument } from './leg.ts'
import { keepLocks, keptSeconds, type Locks, takeLocks } from './lock.ts'
import { baseOutputs, withInventory, writePlan } from './plan.ts'
import { standupPreflight } from './preflight.ts'
import { ensureNamespaces, makeRoom } from './room.ts'
import { findInventory, type Outcome, openCluster, type Session, Timings } from './session.ts'
import { smokeTest } from './smoke.ts'
import { waitForStack } from './stack-ready.ts'
import { markKept, releaseGpus, saveServerLogs, takeBackIntoUse } from './standup-end.ts'
import { startScaling } from './standup-scaling.ts'
import { refuseSameModel, refuseScaledBaseline } from './wva-platform.ts'

/**
 * Brings the stack up: checks everything that can be checked without writing, waits until the namespace is ours, applies
 * all objects at once, waits for all of them concurrently, asks every replica and the gateway for an answer, and under WVA
 * proves the chain. Ends with a stack that serves, or a failure that names the first thing that did not.
 */
export async function standup(session: Session<StandupInputs>): Promise<Outcome> {
  const { inputs, log, signal } = session
  const timings = new Timings()
  const api = await openCluster(inputs.kubeconfig!, inputs.context, session)
  let spec: StackSpec | undefined
  let locks: Locks | undefined
  try {
    const planned = await timings.measure('preflight', () => log.group('Preflight', () => plan(api, session)))
    spec = planned.spec
    await writePlan(session, planned.objects)
    if (inputs.dryRun) {
      log.info(`dry run: ${planned.objects.length} objects would be applied; nothing was changed`)
      return { outputs: baseOutputs(session, spec) }
    }
    session.touch()
    await ensureNamespaces(api, spec, session)
    const owner = await standingFor(api, spec, session)
    locks = await timings.measure('lock', () =>
      log.group('Lock', () =>
        takeLocks(api, spec!, owner, {
          wait: inputs.lock === 'wait',
          timeoutMs: inputs.lockTimeoutMs,
          plannedEnd: Math.ceil((Date.now() + inputs.ttlMs) / 1000),
        }),
      ),
    )
    const ours = { ...owner, signal: AbortSignal.any([signal, locks.lost]) }
    // Written anew: whom the stack belongs to was not known when the plan was made.
    const objects = withInventory(spec, ours, !planned.namespaceExists)
    const endpoint = await build(api, spec, objects, ours, timings)
    await saveServerLogs(api, spec, ours)
    await keepLocks(locks, keptFor(inputs), log)
    log.info(`stack ${spec.stack} serves ${spec.model} at ${endpoint}`)
    return { outputs: { ...baseOutputs(session, spec), endpoint } }
  } catch (error) {
    const failure = asFailure(explainApiError(error, 'standing the stack up'))
    await afterFailure(api, session, spec, locks)
    const outputs = spec === undefined ? {} : baseOutputs(session, spec)
    return {
      outputs,
      failure,
      leg: legDocument(session, { stage: 'standup', failure, timings: timings.seconds, ...(spec ? { spec } : {}) }),
    }
  } finally {
    locks?.close()
    await api.close()
  }
}

/** From now on until a later step of the job, or until the stack expires. */
const keptFor = ({ lifetime, ttlMs }: Pick<StandupInputs, 'lifetime' | 'ttlMs'>): number =>
  keptSeconds({ lifetime, expiresEpochSeconds: (Date.now() + ttlMs) / 1000 }, Date.now())

/** Everything that can be known and refused before the first write. */
async function plan(
  api: Api,
  session: Session<StandupInputs>,
): Promise<{ spec: StackSpec; objects: KubeObject[]; namespaceExists: boolean }> {
  const { inputs, log, signal } = session
  const settings = settingsOf(inputs)
  const [access, seen] = await Promise.all([
    inputs.modelSource.kind === 'claim'
      ? { gated: inputs.hfToken !== undefined }
      : modelAccess({ model: inputs.model, token: inputs.hfToken, endpoint: inputs.hfEndpoint, signal, log }),
    standupPreflight(api, {
      namespace: inputs.namespace.model,
      harnessNamespace: inputs.namespace.harness,
      accelerator: inputs.accelerator,
      storageClass: inputs.storageClass,
      needsStorage: inputs.modelSource.kind === 'pvc',
      gpus: settings.tensorParallel,
      replicas: inputs.wva ? restingReplicas : inputs.replicas,
      maxReplicas: inputs.maxReplicas,
      gatewayClass: settings.gateway.className,
      wva: inputs.wva ? { controllerNamespace: inputs.wvaNamespace, version: inputs.wvaVersion } : undefined,
      stack: stackName(inputs.release, modelLabel(inputs.namespace.model, inputs.model)),
      signal,
      log,
    }),
  ])
  const spec = buildSpec(inputs, { ...seen, gated: access.gated })
  const { namespaceExists } = seen
  return { spec, objects: withInventory(spec, session, !namespaceExists), namespaceExists }
}

/** Everything that is written, until the stack serves. @returns its endpoint */
async function build(
  api: Api,
  spec: StackSpec,
  objects: readonly KubeObject[],
  session: Session<StandupInputs>,
  timings: Timings,
): Promise<string> {
  const { log, signal } = session
  const { autoscaling } = spec
  await makeRoom(api, spec, session)
  if (autoscaling === undefined)
    await refuseScaledBaseline(api, { namespace: spec.namespace, deployment: names(spec).decode }, signal)
  else await refuseSameModel(api, spec, signal)
  await takeBackIntoUse(api, spec, session)
  const live = await refuseForeign(api, objects, spec.stack, signal)
  // HPA and VariantAutoscaling come when the pods are ready: earlier, they would act on what was before.
  const early = objects.filter(o => !isScaler(o))
  const applied = await timings.measure('apply', () => applyStack(api, early, live, { signal, log }))
  log.info(
    `applied ${early.length} objects: ${applied.created.length} created, ${applied.changed.length} changed, ${applied.unchanged.length} unchanged`,
  )
  const endpoint = await timings.measure('ready', () => waitForStack(api, spec, session))
  await timings.measure('smoke', () => log.group('Smoke test', () => smokeTest(api, spec, endpoint, session)))
  if (autoscaling !== undefined) {
    const fresh = !live.has(`Deployment/${names(spec).decode}`)
    await timings.measure('wva', () =>
      log.group('Autoscaling', () => startScaling(api, { ...spec, autoscaling }, session, fresh)),
    )
  }
  return endpoint
}

/** What is still ours is left so that post, a teardown or a person can deal with it. */
async function afterFailure(
  api: Api,
  session: Session<StandupInputs>,
  spec: StackSpec | undefined,
  locks: Locks | undefined,
): Promise<void> {
  const { inputs, log, signal } = session
  // Without the Lease nothing was written, or the stack may be somebody else's by now.
  if (spec === undefined || locks === undefined || locks.lost.aborted) return
  let kept = false
  if (signal.aborted) {
    if (inputs.lifetime === 'job') await releaseGpus(api, spec, log)
  } else {
    if (await nothingStands(api, spec, signal)) {
      // From a terminal no post step comes that would free the namespace for the next call, which has another id.
      await locks.release().catch(error => log.debug(`the Lease was not released: ${(error as Error).message}`))
      return
    }
    await saveServerLogs(api, spec, session).catch(() => undefined)
    if (inputs.keepOnFailure !== 'none') kept = await markKept(api, spec.namespace, inputs.keepOnFailure, log)
  }
  await keepLocks(locks, keptFor(kept ? { ...inputs, lifetime: 'ttl' } : inputs), log)
}

/** Refused before the first object: without an inventory there is nothing to hold a Lease for. */
const nothingStands = (api: Api, spec: StackSpec, signal: AbortSignal): Promise<boolean> =>
  findInventory(api, spec.namespace, signal).then(
    found => found === undefined,
    () => false,
  )
