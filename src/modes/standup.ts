import { explainApiError } from '../cluster/api-error.ts'
import { applyStack, refuseForeign } from '../cluster/apply.ts'
import { asFailure } from '../errors.ts'
import { modelAccess } from '../hub/model.ts'
import type { StandupInputs } from '../inputs.ts'
import { buildSpec, settingsOf } from '../paths/build.ts'
import { isScaler, restingReplicas } from '../stack/components/autoscaling.ts'
import { modelLabel, names, stackName } from '../stack/names.ts'
import type { StackSpec } from '../stack/spec.ts'
import { legDocument } from './leg.ts'
import { baseOutputs, withInventory, writePlan } from './plan.ts'
import { standupPreflight } from './preflight.ts'
import { ensureNamespaces, makeRoom } from './room.ts'
import { type Outcome, openCluster, type Session, Timings } from './session.ts'
import { smokeTest } from './smoke.ts'
import { waitForStack } from './stack-ready.ts'
import { markKept, releaseGpus, saveServerLogs } from './standup-end.ts'
import { startScaling } from './standup-scaling.ts'
import { refuseScaledBaseline } from './wva-platform.ts'

/**
 * Brings the stack up: checks everything that can be checked without writing, applies all objects at once, waits for all
 * of them concurrently, and asks every replica and the gateway for an answer. Ends with a stack that serves, or a failure
 * that names the first thing that did not.
 */
export async function standup(session: Session<StandupInputs>): Promise<Outcome> {
  const { inputs, log, signal } = session
  const settings = settingsOf(inputs)
  const timings = new Timings()
  const api = await openCluster(inputs.kubeconfig!, inputs.context, session)
  let spec: StackSpec | undefined
  try {
    const [access, seen] = await timings.measure('preflight', () =>
      log.group('Preflight', () =>
        Promise.all([
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
            wva: inputs.wva
              ? {
                  controllerNamespace: inputs.wvaNamespace,
                  version: inputs.wvaVersion,
                  model: inputs.model,
                  namespace: inputs.namespace.model,
                }
              : undefined,
            stack: stackName(inputs.release, modelLabel(inputs.namespace.model, inputs.model)),
            signal,
            log,
          }),
        ]),
      ),
    )
    spec = buildSpec(inputs, { ...seen, gated: access.gated })
    const objects = withInventory(spec, session, !seen.namespaceExists)
    await writePlan(session, objects)
    if (inputs.dryRun) {
      log.info(`dry run: ${objects.length} objects would be applied; nothing was changed`)
      return { outputs: baseOutputs(session, spec) }
    }
    await makeRoom(api, spec, session)
    const live = await refuseForeign(api, objects, spec.stack, signal)
    if (!inputs.wva)
      await refuseScaledBaseline(api, { namespace: spec.namespace, deployment: names(spec).decode }, signal)

    // HPA and VariantAutoscaling come when the pods are ready: earlier, they would act on what was before.
    const early = objects.filter(o => !isScaler(o))
    session.touch()
    await ensureNamespaces(api, spec, session)
    const applied = await timings.measure('apply', () => applyStack(api, early, live, { signal, log }))
    log.info(
      `applied ${early.length} objects: ${applied.created.length} created, ${applied.changed.length} changed, ${applied.unchanged.length} unchanged`,
    )
    const endpoint = await timings.measure('ready', () => waitForStack(api, spec!, session))
    await timings.measure('smoke', () => log.group('Smoke test', () => smokeTest(api, spec!, endpoint, session)))
    if (spec.autoscaling !== undefined) {
      const fresh = !live.has(`Deployment/${names(spec).decode}`)
      await timings.measure('wva', () =>
        log.group('Autoscaling', () =>
          startScaling(api, { ...spec!, autoscaling: spec!.autoscaling! }, session, fresh),
        ),
      )
    }
    await saveServerLogs(api, spec, session)
    log.info(`stack ${spec.stack} serves ${spec.model} at ${endpoint}`)
    return { outputs: { ...baseOutputs(session, spec), endpoint } }
  } catch (error) {
    const failure = asFailure(explainApiError(error, 'standing the stack up'))
    if (signal.aborted && spec !== undefined && inputs.lifetime === 'job') await releaseGpus(api, spec, log)
    if (spec !== undefined && !signal.aborted) {
      await saveServerLogs(api, spec, session).catch(() => undefined)
      if (inputs.keepOnFailure !== 'none') await markKept(api, spec.namespace, inputs.keepOnFailure)
    }
    const outputs = spec === undefined ? {} : baseOutputs(session, spec)
    return {
      outputs,
      failure,
      leg: legDocument(session, { stage: 'standup', failure, timings: timings.seconds, ...(spec ? { spec } : {}) }),
    }
  } finally {
    await api.close()
  }
}
