import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Api } from '../cluster/api.ts'
import { waitUntilGone } from '../cluster/gone.ts'
import { wholeLog } from '../cluster/logs.ts'
import { get, isOurs, list, mergePatch, remove } from '../cluster/objects.ts'
import { describe } from '../cluster/resources.ts'
import type { StandupInputs } from '../inputs.ts'
import { keepAnnotation } from '../stack/inventory.ts'
import { inventoryName, stackLabel } from '../stack/kube.ts'
import { names } from '../stack/names.ts'
import type { StackSpec } from '../stack/spec.ts'
import type { Session } from './session.ts'

/** What a maintainer wants to read after the stack is gone: the servers' logs, in the out folder. */
export async function saveServerLogs(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<void> {
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
export async function releaseGpus(api: Api, spec: StackSpec, log: Session<unknown>['log']): Promise<void> {
  const signal = AbortSignal.timeout(5000)
  const name = names(spec).decode
  // The HPA first: it would otherwise be told of a Deployment that is gone, in the events that are evidence.
  const kinds = [
    ...(spec.autoscaling === undefined ? [] : (['HorizontalPodAutoscaler'] as const)),
    'Deployment' as const,
  ]
  try {
    for (const kind of kinds) {
      const live = await get(api, kind, spec.namespace, name, signal)
      if (live === undefined || !isOurs(live, spec.stack)) continue
      await remove(api, { ...live, kind }, { signal })
      log.info(`cancelled: deleted ${describe({ kind, metadata: { name } })} first; post removes the rest`)
    }
  } catch (error) {
    log.debug(`cancelled: ${(error as Error).message}`)
  }
}

/** Post reads this: a failed stack is scaled to 0 (evidence) or left alone (all) until its expiry. @returns whether it was written */
export async function markKept(
  api: Api,
  namespace: string,
  keep: 'evidence' | 'all',
  log: Session<unknown>['log'],
): Promise<boolean> {
  try {
    await mergePatch(api, 'ConfigMap', namespace, inventoryName, {
      metadata: { annotations: { [keepAnnotation]: keep } },
    })
    return true
  } catch (error) {
    log.warning(`keep-on-failure: ${keep} could not be noted, the stack is not kept: ${(error as Error).message}`)
    return false
  }
}

/**
 * A standup over a stack that was kept: it is in use again, so post must not keep it once more. A Deployment that post
 * scaled to 0 is made anew: the number that was set past our own apply would be a conflict for the next one.
 */
export async function takeBackIntoUse(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<void> {
  const { signal, log } = session
  const inventory = await get(api, 'ConfigMap', spec.namespace, inventoryName, signal)
  if (inventory?.metadata.annotations?.[keepAnnotation] === undefined) return
  const live = await get(api, 'Deployment', spec.namespace, names(spec).decode, signal)
  if (live !== undefined && isOurs(live, spec.stack) && (live.spec as { replicas?: number }).replicas === 0) {
    const deployment = { ...live, apiVersion: 'apps/v1', kind: 'Deployment' }
    await remove(api, deployment, { signal })
    await waitUntilGone(api, deployment, signal, log)
  }
  const patch = { metadata: { annotations: { [keepAnnotation]: null } } }
  await mergePatch(api, 'ConfigMap', spec.namespace, inventoryName, patch, signal)
  log.info(`the stack ${spec.stack} was kept after a failure; it is in use again`)
}
