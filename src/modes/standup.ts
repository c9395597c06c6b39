import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Api } from '../cluster/api.ts'
import { explainApiError, isForbidden } from '../cluster/api-error.ts'
import { applyStack, refuseForeign } from '../cluster/apply.ts'
import { wholeLog } from '../cluster/logs.ts'
import { list, mergePatch, remove } from '../cluster/objects.ts'
import { Observer } from '../cluster/observer.ts'
import { collectionPath, describe, objectPath } from '../cluster/resources.ts'
import { waitReady } from '../cluster/wait.ts'
import { asFailure, UserError } from '../errors.ts'
import { modelAccess } from '../hub/model.ts'
import type { StandupInputs } from '../inputs.ts'
import { buildSpec, settingsOf } from '../paths/build.ts'
import { keepAnnotation } from '../stack/inventory.ts'
import { fieldManager, inventoryName, type KubeObject, stackLabel } from '../stack/kube.ts'
import { modelLabel, names, stackName } from '../stack/names.ts'
import type { StackSpec } from '../stack/spec.ts'
import { legDocument } from './leg.ts'
import { baseOutputs, withInventory, writePlan } from './plan.ts'
import { standupPreflight } from './preflight.ts'
import { findInventory, type Outcome, openCluster, type Session, Timings } from './session.ts'
import { smokeTest } from './smoke.ts'

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
            replicas: inputs.replicas,
            gatewayClass: settings.gateway.className,
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
    await refuseOtherStack(api, spec, signal)
    const live = await refuseForeign(api, objects, spec.stack, signal)

    session.touch()
    await ensureNamespaces(api, spec, session)
    const applied = await timings.measure('apply', () => applyStack(api, objects, live, { signal, log }))
    log.info(
      `applied ${objects.length} objects: ${applied.created.length} created, ${applied.changed.length} changed, ${applied.unchanged.length} unchanged`,
    )
    const endpoint = await timings.measure('ready', () => waitForStack(api, spec!, session))
    await timings.measure('smoke', () => log.group('Smoke test', () => smokeTest(api, spec!, endpoint, session)))
    await saveServerLogs(api, spec, session)
    log.info(`stack ${spec.stack} serves ${spec.model} at ${endpoint}`)
    return { outputs: { ...baseOutputs(session, spec), endpoint } }
  } catch (error) {
    const failure = asFailure(explainApiError(error, 'standing the stack up'))
    if (signal.aborted && spec !== undefined && inputs.lifetime === 'job') await releaseGpus(api, spec, log)
    if (spec !== undefined && !signal.aborted) {
      await saveServerLogs(api, spec, session).catch(() => undefined)
      if (inputs.keepOnFailure !== 'none') await markKept(api, spec, inputs.keepOnFailure)
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

async function refuseOtherStack(api: Api, spec: StackSpec, signal: AbortSignal): Promise<void> {
  const found = await findInventory(api, spec.namespace, signal)
  if (found === undefined || found.inventory.stack === spec.stack) return
  throw new UserError('PREFLIGHT', `Namespace ${spec.namespace} already holds the stack ${found.inventory.stack}.`, {
    why: 'One namespace holds one stack: two would share names, volumes and GPU quota.',
    next: `Tear it down first (mode: teardown, namespace: ${spec.namespace}), or use another namespace.`,
  })
}

/** Creates what is missing; a namespace is never changed and never deleted. */
async function ensureNamespaces(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<void> {
  for (const name of new Set([spec.namespace, spec.harnessNamespace])) {
    try {
      await api.request('GET', objectPath('Namespace', undefined, name), { signal: session.signal })
    } catch (error) {
      if (isForbidden(error)) continue
      if ((error as { status?: number }).status !== 404) throw error
      await api.request('POST', collectionPath('Namespace'), {
        query: { fieldManager },
        body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
        signal: session.signal,
      })
      session.log.info(`created namespace ${name}`)
    }
  }
}

/** All readiness waits at once; the first failure ends the others. */
async function waitForStack(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<string> {
  const { inputs, log } = session
  const stop = new AbortController()
  const signal = AbortSignal.any([session.signal, stop.signal])
  const observer = new Observer(api, spec.namespace, log, signal)
  const labelSelector = `${stackLabel}=${spec.stack}`
  const n = names(spec)
  const wait = (
    kind: Parameters<typeof waitReady>[2]['kind'],
    name: string,
    timeoutMs: number,
    code: 'GATEWAY' | 'MODEL_LOAD' | 'MODEL_DOWNLOAD',
    next: string,
  ) =>
    waitReady(
      api,
      observer,
      { kind, name, timeoutMs, code, next },
      { patience: { scheduleMs: inputs.timeouts.scheduleMs }, signal, log },
    )
  const { downloadMs, readyMs, gatesMs } = inputs.timeouts
  const gateway = 'Look at the conditions of the Gateway and the HTTPRoute, and at the log of istiod.'
  try {
    await Promise.all([
      ...(['Pod', 'Deployment', 'Job', 'Gateway', 'HTTPRoute', 'InferencePool', 'PersistentVolumeClaim'] as const).map(
        kind => observer.watch(kind, { labelSelector }),
      ),
      observer.watch('ReplicaSet', { labelSelector }),
      observer.watch('Event'),
    ])
    const download =
      spec.source.kind === 'pvc'
        ? wait(
            'Job',
            n.downloadJob,
            downloadMs,
            'MODEL_DOWNLOAD',
            'Raise `timeouts.download`, or look at the log of the download pod.',
          )
        : undefined
    const waits = [
      spec.source.kind === 'pvc'
        ? wait('PersistentVolumeClaim', n.modelClaim, downloadMs, 'MODEL_DOWNLOAD', 'Look at the events of the claim.')
        : undefined,
      download,
      wait('Gateway', n.gateway, gatesMs, 'GATEWAY', gateway),
      wait('HTTPRoute', n.route, gatesMs, 'GATEWAY', gateway),
      wait('InferencePool', n.pool, gatesMs, 'GATEWAY', gateway),
      wait('Deployment', n.scheduler, gatesMs, 'GATEWAY', 'Look at the log of the endpoint picker.'),
      // The server's own time starts when its weights are there.
      wait(
        'Deployment',
        n.decode,
        readyMs + (download === undefined ? 0 : downloadMs),
        'MODEL_LOAD',
        'Raise `timeouts.ready`, or look at the log of the vllm container.',
      ),
    ].filter(w => w !== undefined)
    await Promise.all(waits)
    const live = observer.view.get('Gateway', n.gateway)
    return gatewayEndpoint(live, spec)
  } finally {
    stop.abort()
    await observer.close()
  }
}

/** `http://host` with the port of the listener, from the Gateway's own status. */
export function gatewayEndpoint(gateway: KubeObject | undefined, spec: { namespace: string }): string {
  const addresses =
    (gateway?.status as { addresses?: { type?: string; value?: string }[] } | undefined)?.addresses ?? []
  const value = addresses.find(a => a.type === 'Hostname')?.value ?? addresses[0]?.value
  if (gateway === undefined || value === undefined || value === '') {
    throw new UserError('GATEWAY', `The Gateway in namespace ${spec.namespace} has no address.`, {
      why: 'Its controller has not published one in status.addresses.',
      next: 'Look at the conditions of the Gateway; check that istiod runs.',
    })
  }
  const host = value.includes(':') ? `[${value}]` : value
  return `http://${host}:80`
}

/** What a maintainer wants to read after the stack is gone: the servers' logs, in the out folder. */
async function saveServerLogs(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<void> {
  const signal = AbortSignal.any([session.signal, AbortSignal.timeout(20_000)])
  const { items } = await list(api, 'Pod', spec.namespace, {
    labelSelector: `${stackLabel}=${spec.stack},llm-d.ai/role=decode`,
    signal,
  })
  await Promise.all(
    items.map(async pod => {
      const target = { namespace: spec.namespace, pod: pod.metadata.name, container: 'vllm' }
      // A container that has just been restarted has said nothing yet: what it crashed with is in the log before.
      for (const previous of [false, true]) {
        const text = await wholeLog(api, target, signal, { previous }).catch(() => undefined)
        const file = `${pod.metadata.name}.vllm${previous ? '.previous' : ''}.log`
        if (text !== undefined) await writeFile(path.join(session.out, file), text)
      }
    }),
  )
}

/** A cancelled standup has seconds: the objects that hold GPUs go first, post removes the rest. */
async function releaseGpus(api: Api, spec: StackSpec, log: Session<unknown>['log']): Promise<void> {
  const signal = AbortSignal.timeout(5000)
  const name = names(spec).decode
  try {
    const live = await api.request<KubeObject>('GET', objectPath('Deployment', spec.namespace, name), { signal })
    if (live.metadata.labels?.[stackLabel] !== spec.stack) return
    await remove(api, { ...live, apiVersion: 'apps/v1', kind: 'Deployment' }, { signal })
    log.info(`cancelled: deleted ${describe({ kind: 'Deployment', metadata: { name } })} first; post removes the rest`)
  } catch (error) {
    log.debug(`cancelled: ${(error as Error).message}`)
  }
}

/** Post reads this: a failed stack is scaled to 0 (evidence) or left alone (all) until its expiry. */
async function markKept(api: Api, spec: StackSpec, keep: 'evidence' | 'all'): Promise<void> {
  await mergePatch(api, 'ConfigMap', spec.namespace, inventoryName, {
    metadata: { annotations: { [keepAnnotation]: keep } },
  }).catch(() => undefined)
}
