import type { Api } from '../cluster/api.ts'
import { waitUntilGone } from '../cluster/gone.ts'
import { get, list, mergePatch, remove } from '../cluster/objects.ts'
import { goneTimeoutMs, removeStack } from '../cluster/remove.ts'
import type { Kind } from '../cluster/resources.ts'
import { UserError } from '../errors.ts'
import type { Inputs } from '../inputs.ts'
import { type Inventory, keepAnnotation } from '../stack/inventory.ts'
import { actingFor, ofStack } from './identity.ts'
import { dropLocks, dropModelLock, keepLocks, keptSeconds, type Locks, resumeLocks } from './lock.ts'
import { withScalers } from './run-scaling.ts'
import { findInventory, type Session } from './session.ts'
import { restoreScalers } from './settle.ts'

/**
 * Removes the stack that this standup made, unless a teardown step already did, somebody else stands there now, or a
 * failure asked for it to be kept until its expiry.
 */
export async function removeOwnStack(api: Api, session: Session<Inputs>): Promise<void> {
  const { log, signal } = session
  const { namespace } = session.inputs
  const found = await findInventory(api, namespace.model, signal)
  if (found === undefined) {
    log.info(`post: no stack in ${namespace.model}, nothing to remove`)
    await dropOwnLocks(api, session, undefined)
    return
  }
  const { inventory, object } = found
  if (inventory.holder !== session.holder) {
    log.info(`post: the stack in ${namespace.model} belongs to ${inventory.holder}, not to this job; left alone`)
    return
  }
  const keep = object.metadata.annotations?.[keepAnnotation]
  if (keep === 'all' || keep === 'evidence') {
    if (keep === 'evidence') await scaleToZero(api, namespace.model, inventory.decode, signal)
    log.warning(
      `post: kept for evidence until ${new Date(inventory.expiresEpochSeconds * 1000).toISOString()}${keep === 'evidence' ? ' (scaled to 0)' : ''}; remove it with mode: teardown`,
    )
    return
  }
  const removal = await removeStack(api, {
    namespaces: [...new Set([namespace.model, namespace.harness, inventory.harnessNamespace])],
    stack: inventory.stack,
    deep: false,
    purge: false,
    timeoutMs: goneTimeoutMs,
    beforeInventory: () => dropModelLock(api, inventory, { holders: [session.holder], signal, log }),
    signal,
    log,
  })
  log.info(
    `post: removed ${removal.deleted.length} objects of ${inventory.stack}; kept on purpose: ${removal.kept.join(', ') || 'nothing'}`,
  )
  if (removal.leftovers.length + removal.failures.length === 0) await dropOwnLocks(api, session, inventory)
  else {
    log.warning(
      `post: LEFTOVERS: ${[...removal.leftovers, ...removal.failures].join('; ')}. Run mode: teardown for ${namespace.model}.`,
    )
  }
}

/** Leases of this job's own holder: also of a standup that was cut before it had written anything else. */
async function dropOwnLocks(api: Api, session: Session<Inputs>, stack: Inventory | undefined): Promise<void> {
  const { inputs, holder, signal, log } = session
  const autoscaling = inputs.mode === 'standup' && inputs.wva ? { controllerNamespace: inputs.wvaNamespace } : undefined
  const of = stack ?? { namespace: inputs.namespace.model, stack: '', model: inputs.model, autoscaling }
  await dropLocks(api, of, { holders: [holder], signal, log })
}

/**
 * Frees the GPUs and leaves every object to be looked at. Under WVA the scalers stay as well, their conditions are
 * evidence: an HPA whose floor is 1 does not act on a Deployment that was set to 0.
 * https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
 */
async function scaleToZero(api: Api, namespace: string, deployment: string, signal: AbortSignal): Promise<void> {
  if ((await get(api, 'Deployment', namespace, deployment, signal)) === undefined) return
  await mergePatch(api, 'Deployment', namespace, deployment, { spec: { replicas: 0 } }, signal)
}

/** Removes pods and ConfigMaps of this run; the stack stays. */
export async function removeHarness(api: Api, session: Session<Inputs>): Promise<void> {
  const { log, signal } = session
  const namespace = session.inputs.namespace.harness
  const labelSelector = `llm-d.ai/bench-run=${session.runId}`
  const lists = await Promise.all(
    (['Pod', 'ConfigMap'] as Kind[]).map(kind => list(api, kind, namespace, { labelSelector, signal })),
  )
  const objects = lists.flatMap(l => l.items)
  await Promise.all(objects.map(o => remove(api, o, { graceSeconds: 1, signal })))
  await Promise.all(objects.filter(o => o.kind === 'Pod').map(o => waitUntilGone(api, o, signal, log)))
  log.info(`post: removed ${objects.length} harness object(s) of run ${session.runId}`)
  await leaveInOrder(api, session)
}

/** Until then post tries to bring the scalers back: the post step of standup needs the rest of the five minutes. */
const restoreBudgetMs = 2 * 60_000

/**
 * A stack that outlives its job keeps its Lease, and gets back the scalers that a cut reset had removed. One with
 * `lifetime: job` is removed in a moment by the post step of its standup; nothing is repaired for that.
 */
async function leaveInOrder(api: Api, session: Session<Inputs>): Promise<void> {
  const { log } = session
  const found = await findInventory(api, session.inputs.namespace.model, session.signal)
  if (found === undefined || found.inventory.lifetime === 'job') return
  const stack = found.inventory
  const owner = actingFor(ofStack(session, stack), stack).session
  let locks: Locks | undefined
  try {
    // The step that was killed is still running, as far as its Lease tells.
    locks = await resumeLocks(api, stack, owner)
    const signal = AbortSignal.any([session.signal, locks.lost, AbortSignal.timeout(restoreBudgetMs)])
    const restored = await withScalers(api, stack, { log, signal }, restoreScalers)
    if (restored) log.info('post: HPA and VariantAutoscaling are back')
  } catch (error) {
    log.warning(
      `post: the scalers were not brought back (${error instanceof UserError ? `${error.failure.what} ${error.failure.why}` : (error as Error).message}); the next run does it`,
    )
  } finally {
    if (locks !== undefined) await keepLocks(locks, keptSeconds(stack, Date.now()), log)
  }
}
