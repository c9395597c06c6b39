import type { Api } from '../cluster/api.ts'
import { isForbidden, isNotFound } from '../cluster/api-error.ts'
import { acquireLease, type HeldLease, type LeaseView, readLease, resumeLease } from '../cluster/lease.ts'
import { get, remove } from '../cluster/objects.ts'
import { goneTimeoutMs, removeStack } from '../cluster/remove.ts'
import { UserError } from '../errors.ts'
import type { PreviousStack } from '../stack/lease-record.ts'
import { betweenStepsSeconds, type LockRef, lockedStack, locksOf, stackOfLock } from '../stack/locks.ts'
import { findInventory, type Session } from './session.ts'

/** All Leases of a step. */
export interface Locks {
  /** Aborts when one was lost: from then on the stack may be somebody else's. */
  readonly lost: AbortSignal
  /** The clean end of a step: the stack stays ours for so long. */
  keep(seconds: number): Promise<void>
  /** Nothing of ours stands any more: the next may come. */
  release(): Promise<void>
  /** Stops renewing; the Leases run out by themselves. */
  close(): void
}

const together = (held: readonly HeldLease[]): Locks => ({
  lost: AbortSignal.any(held.map(h => h.lost)),
  keep: async seconds => void (await Promise.all(held.map(h => h.keep(seconds)))),
  // The last one first: whoever waits for the namespace finds the other free.
  release: async () => {
    for (const h of held.toReversed()) await h.release()
  },
  close: () => {
    for (const h of held) h.close()
  },
})

type LockSession = Pick<Session<unknown>, 'holder' | 'log' | 'signal'>
interface Locked {
  readonly namespace: string
  readonly stack: string
  readonly model: string
  readonly autoscaling?: { readonly controllerNamespace: string } | undefined
}

/**
 * Takes the Leases of a stack one after the other, waiting for each; a stack that a dead holder left behind is removed
 * first.
 * @throws UserError LOCKED when one was not free in time, or at once without `wait`
 */
export async function takeLocks(
  api: Api,
  stack: Locked,
  session: LockSession,
  options: { wait: boolean; timeoutMs: number | undefined; plannedEnd: number },
): Promise<Locks> {
  const held: HeldLease[] = []
  try {
    for (const ref of locksOf(stack)) {
      held.push(
        await acquireLease(api, ref, {
          holder: session.holder,
          stack: lockedStack(stack),
          wait: options.wait,
          plannedEnd: options.plannedEnd,
          ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
          onTakeover: (previous, signal) => clear(api, previous, { ...session, signal }),
          signal: session.signal,
          log: session.log,
        }),
      )
    }
  } catch (error) {
    const locks = together(held)
    // A stack of ours may stand already: it stays ours between two steps.
    if (await standsHere(api, stack, session.holder)) await keepLocks(locks, betweenStepsSeconds, session.log)
    else await locks.release().catch(() => undefined)
    throw error
  }
  return together(held)
}

const standsHere = (api: Api, stack: Locked, holder: string): Promise<boolean> =>
  findInventory(api, stack.namespace, AbortSignal.timeout(keepPatienceMs)).then(
    found => found?.inventory.holder === holder,
    // Not known: a Lease that runs out by itself does less harm than a stack without one.
    () => true,
  )

/**
 * Goes on holding the Leases that standup took.
 * @param options.idleOnly refuse while another step of the same holder runs
 * @throws UserError LOCKED when they are not ours any more
 */
export async function resumeLocks(
  api: Api,
  stack: Locked,
  session: LockSession,
  options: { plannedEnd?: number; idleOnly?: boolean } = {},
): Promise<Locks> {
  const held: HeldLease[] = []
  try {
    for (const ref of locksOf(stack)) {
      const { holder, signal, log } = session
      held.push(await resumeLease(api, ref, { holder, signal, log, ...options }))
    }
  } catch (error) {
    together(held).close()
    throw error
  }
  return together(held)
}

/** How long a stack stays its owner's after a step has ended well. */
export const keptSeconds = (of: { lifetime: 'job' | 'ttl'; expiresEpochSeconds: number }, nowMs: number): number =>
  of.lifetime === 'job' ? betweenStepsSeconds : Math.max(1, Math.ceil(of.expiresEpochSeconds - nowMs / 1000))

/** A cancelled step has seconds: the Lease is kept if that is possible in so many ms. */
const keepPatienceMs = 3000

/** The end of a step, also of a cancelled one: the stack stays its owner's. A Lease that was lost is left alone. */
export async function keepLocks(locks: Locks, seconds: number, log: Session<unknown>['log']): Promise<void> {
  if (!locks.lost.aborted) {
    const late = new Promise<never>((_resolve, reject) =>
      setTimeout(() => reject(new Error('no answer in time')), keepPatienceMs).unref(),
    )
    await Promise.race([locks.keep(seconds), late]).catch(error =>
      log.debug(`the Lease was not kept: ${(error as Error).message}`),
    )
  }
  locks.close()
}

/**
 * Removes the stack that a dead holder left, as its Lease names it. The Lease of a model can outlive that of its namespace:
 * a stack of the same name may be somebody else's by now, and is spared.
 */
async function clear(api: Api, previous: PreviousStack, session: LockSession): Promise<void> {
  const { log, signal } = session
  const named = stackOfLock(previous.stack)
  if (named === undefined) {
    const text = JSON.stringify(previous.stack.slice(0, 80))
    log.warning(`a Lease names ${text}, which is no stack; nothing is removed for it`)
    return
  }
  const lease = await namespaceLease(api, named.namespace, signal)
  const holder = lease?.expired === false ? lease.holder : undefined
  if (holder !== undefined && holder !== previous.holder && holder !== session.holder) {
    log.info(`${named.namespace} belongs to ${holder} by now; nothing is removed there`)
    return
  }
  const found = await findInventory(api, named.namespace, signal).catch(() => undefined)
  const harness = found?.inventory.stack === named.stack ? [found.inventory.harnessNamespace] : []
  const { leftovers, failures } = await removeStack(api, {
    namespaces: [...new Set([named.namespace, ...harness])],
    stack: named.stack,
    deep: false,
    purge: false,
    timeoutMs: goneTimeoutMs,
    beforeInventory: async () =>
      found && dropModelLock(api, found.inventory, { holders: [previous.holder], signal, log }),
    signal,
    log,
  })
  if (leftovers.length + failures.length === 0) return
  throw new UserError('LEFTOVERS', `The stack ${named.stack} that a dead run left in ${named.namespace} is not gone.`, {
    why: [...leftovers, ...failures].join('; ').slice(0, 1000),
    next: `Run mode: teardown for ${named.namespace}.`,
  })
}

/** What the Lease of a namespace says; undefined when there is none, or when it may not be read. */
export async function namespaceLease(api: Api, namespace: string, signal: AbortSignal): Promise<LeaseView | undefined> {
  const [ref] = locksOf({ namespace, stack: '', model: '' })
  try {
    return await readLease(api, ref!, { signal })
  } catch (error) {
    if (isForbidden(error) || isNotFound(error)) return undefined
    throw error
  }
}

interface DropOptions {
  readonly holders: readonly string[]
  readonly signal: AbortSignal
  readonly log: Session<unknown>['log']
}

/** Deletes the Leases of a stack that is gone, as far as one of `holders` has them. */
export const dropLocks = (api: Api, stack: Locked, options: DropOptions): Promise<void> =>
  drop(api, locksOf(stack).toReversed(), options)

/**
 * Deletes the Lease of a stack's model, if one of `holders` has it. Only the inventory tells where it is: when a teardown is
 * cut after the inventory, nobody would find it any more, and the model would be locked until it runs out.
 */
export const dropModelLock = (api: Api, stack: Locked, options: DropOptions): Promise<void> =>
  drop(api, locksOf(stack).slice(1), options)

async function drop(api: Api, refs: readonly LockRef[], options: DropOptions): Promise<void> {
  for (const ref of refs) {
    try {
      await dropLock(api, ref, options)
    } catch (error) {
      options.signal.throwIfAborted()
      options.log.warning(`Lease ${ref.namespace}/${ref.name} stays until it runs out: ${(error as Error).message}`)
    }
  }
}

async function dropLock(api: Api, ref: LockRef, options: DropOptions): Promise<void> {
  for (;;) {
    const live = await get(api, 'Lease', ref.namespace, ref.name, options.signal)
    const holder = (live?.spec as { holderIdentity?: string } | undefined)?.holderIdentity ?? ''
    if (live === undefined || !options.holders.includes(holder)) return
    const lease = { ...live, apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
    // What has changed since the look is looked at again: it may have become somebody else's.
    if (await remove(api, lease, { unchanged: true, signal: options.signal })) return
  }
}
