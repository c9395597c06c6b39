import type { Api } from '../cluster/api.ts'
import { explainApiError } from '../cluster/api-error.ts'
import { get } from '../cluster/objects.ts'
import { goneTimeoutMs, type Removal, removeStack } from '../cluster/remove.ts'
import { asFailure, type Failure, UserError } from '../errors.ts'
import type { TeardownInputs } from '../inputs.ts'
import type { Inventory } from '../stack/inventory.ts'
import { inventoryName, stackLabel } from '../stack/kube.ts'
import { mayTearDown } from '../stack/locks.ts'
import { ofStack } from './identity.ts'
import { legDocument } from './leg.ts'
import { dropLocks, dropModelLock, namespaceLease } from './lock.ts'
import { checkRights } from './preflight.ts'
import { findInventory, type Outcome, openCluster, type Session, Timings } from './session.ts'

/**
 * Removes the stack of a namespace and proves it by listing what is left. Needs neither the model nor the path: the
 * inventory and the ownership label say what is ours. Nothing there is success.
 */
export async function teardown(given: Session<TeardownInputs>): Promise<Outcome> {
  const { inputs, log, signal } = given
  let session = given
  const timings = new Timings()
  const api = await openCluster(inputs.kubeconfig!, inputs.context, session)
  let stack: Inventory | undefined
  try {
    stack = await readStack(api, inputs.namespace.model, session)
    session = ofStack(session, stack)
    const namespaces = [
      ...new Set([inputs.namespace.model, inputs.namespace.harness, ...(stack ? [stack.harnessNamespace] : [])]),
    ]
    await checkRights(api, 'teardown', namespaces, signal, log, stack?.autoscaling?.controllerNamespace)
    await refuseStacksOfOthers(api, session)
    const request = {
      namespaces,
      stack: stack?.stack,
      deep: inputs.deep,
      purge: inputs.purge,
      timeoutMs: goneTimeoutMs,
      beforeInventory: async () => stack && dropModelLock(api, stack, dropping(stack, session)),
      signal,
      log,
    }
    if (inputs.dryRun) {
      const failures: string[] = []
      const { listOwned } = await import('../cluster/remove.ts')
      for (const o of await listOwned(api, request, failures)) log.info(`would look at ${o.kind} ${o.metadata.name}`)
      return { outputs: { namespace: inputs.namespace.model } }
    }
    session.touch()
    const removal = await timings.measure('teardown', () => log.group('Teardown', () => removeStack(api, request)))
    report(removal, log, inputs.namespace.model)
    const gone = removal.leftovers.length + removal.failures.length === 0
    if (gone) await dropStackLocks(api, stack, session)
    const failure = removalFailure(removal)
    const outputs = {
      namespace: inputs.namespace.model,
      leftovers: String(removal.leftovers.length),
      ...(stack ? { stack: stack.stack } : {}),
    }
    const leg =
      stack &&
      legDocument(session, {
        stage: 'teardown',
        timings: timings.seconds,
        inventory: stack,
        leftovers: removal.leftovers,
        kept: removal.kept,
        ...(failure ? { failure } : {}),
      })
    return { outputs, ...(failure ? { failure } : {}), ...(leg ? { leg } : {}) }
  } catch (error) {
    const failure = asFailure(explainApiError(error, 'tearing the stack down'))
    const leg =
      stack && legDocument(session, { stage: 'teardown', timings: timings.seconds, inventory: stack, failure })
    return { outputs: { namespace: inputs.namespace.model }, failure, ...(leg ? { leg } : {}) }
  } finally {
    await api.close()
  }
}

/**
 * A job whose standup waited in vain for the namespace has a teardown step too: it must not remove what it waited for.
 * @throws UserError LOCKED naming the holder
 */
async function refuseStacksOfOthers(api: Api, session: Session<TeardownInputs>): Promise<void> {
  const { inputs, holder, github, signal } = session
  const lease = await namespaceLease(api, inputs.namespace.model, signal)
  const claim = { holder, byHand: github === undefined, force: inputs.lock === 'force' }
  const verdict = mayTearDown(lease, claim)
  if (verdict.ok) return
  throw new UserError('LOCKED', `The stack in ${inputs.namespace.model} belongs to ${verdict.holder}.`, {
    why: verdict.active
      ? 'A step of it runs at this moment.'
      : 'Its Lease has not run out: another step of that job follows, or it is kept with lifetime: ttl.',
    next: 'Leave it to that run. To remove it all the same: mode: teardown with lock: force, or from the command line.',
  })
}

/** After the last object: from then on somebody else may stand a stack up. */
async function dropStackLocks(api: Api, stack: Inventory | undefined, session: Session<TeardownInputs>): Promise<void> {
  const { inputs } = session
  const of = stack ?? { namespace: inputs.namespace.model, stack: '', model: inputs.model }
  await dropLocks(api, of, dropping(stack, session))
}

const dropping = (stack: Inventory | undefined, { holder, signal, log }: Session<TeardownInputs>) => ({
  holders: [holder, ...(stack ? [stack.holder] : [])],
  signal,
  log,
})

/** A broken inventory must not keep a stack alive: the label alone is enough to remove it. */
async function readStack(
  api: Api,
  namespace: string,
  session: Pick<Session<unknown>, 'log' | 'signal'>,
): Promise<Inventory | undefined> {
  try {
    const found = await findInventory(api, namespace, session.signal)
    if (found === undefined)
      session.log.info(`no inventory in ${namespace}; looking for objects with our label ${stackLabel}`)
    return found?.inventory
  } catch (error) {
    const live = await get(api, 'ConfigMap', namespace, inventoryName, session.signal)
    session.log.warning(
      `the inventory of ${namespace} cannot be read (${(error as Error).message}); going by the label of its objects`,
    )
    if (live === undefined) throw error
    return undefined
  }
}

function report(removal: Removal, log: Session<unknown>['log'], namespace: string): void {
  if (removal.deleted.length === 0) log.info(`nothing of ours to delete in ${namespace}`)
  else log.info(`deleted: ${[...removal.deleted].sort().join(', ')}`)
  if (removal.kept.length > 0)
    log.info(`kept on purpose: ${[...removal.kept].sort().join(', ')} (deep: true deletes them)`)
  log.info(removal.leftovers.length === 0 ? 'left over: nothing' : `left over: ${removal.leftovers.join('; ')}`)
}

function removalFailure(removal: Removal): Failure | undefined {
  if (removal.leftovers.length === 0 && removal.failures.length === 0) return undefined
  return {
    code: 'LEFTOVERS',
    what:
      removal.leftovers.length > 0
        ? `${removal.leftovers.length} object(s) of the stack are still there.`
        : `${removal.failures.length} request(s) of the teardown failed.`,
    why:
      removal.leftovers.length > 0
        ? `Still there: ${removal.leftovers.join('; ')}.`
        : removal.failures.join('; ').slice(0, 1000),
    next: 'Run mode: teardown again; an object that a finalizer holds needs its controller, or `kubectl edit` to remove the finalizer.',
    evidence: [...removal.leftovers, ...removal.failures].slice(0, 30),
  }
}
