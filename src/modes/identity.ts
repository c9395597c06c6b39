import type { Api } from '../cluster/api.ts'
import { UserError } from '../errors.ts'
import { holderOf } from '../github/naming.ts'
import type { Inputs } from '../inputs.ts'
import type { Inventory } from '../stack/inventory.ts'
import type { StackSpec } from '../stack/spec.ts'
import { namespaceLease } from './lock.ts'
import { findInventory, type Session } from './session.ts'

/** Without a matrix a later step is of the leg that the stack was stood up for. */
export function ofStack<I extends Inputs>(session: Session<I>, stack: Inventory | undefined): Session<I> {
  const { github, inputs } = session
  if (stack?.leg === undefined || hasMatrix(inputs.matrix)) return session
  const holder = github === undefined ? session.holder : holderOf(github, stack.leg)
  return { ...session, leg: stack.leg, holder }
}

const hasMatrix = (matrix: unknown): boolean =>
  typeof matrix === 'object' && matrix !== null && Object.keys(matrix).length > 0

/**
 * Whom a step acts for. From a terminal every call has an id of its own, and a stack with `lifetime: ttl` is there to be
 * used by later runs: both act for the owner that the inventory names, as long as no other step does.
 */
export function actingFor<I extends Inputs>(
  session: Session<I>,
  stack: Inventory,
): { readonly session: Session<I>; readonly idleOnly: boolean } {
  const lent = stack.holder !== session.holder && (session.github === undefined || stack.lifetime === 'ttl')
  return lent ? { session: { ...session, holder: stack.holder }, idleOnly: true } : { session, idleOnly: false }
}

/**
 * Whom a standup acts for. A stack that its owner keeps until its expiry is used when it is the very same one, and
 * refused otherwise: to wait for it would be to wait for hours.
 * @throws UserError PREFLIGHT when another stack is kept there
 */
export async function standingFor<I extends Inputs>(
  api: Api,
  spec: StackSpec,
  session: Session<I>,
): Promise<Session<I>> {
  const found = await findInventory(api, spec.namespace, session.signal)
  if (found === undefined) return session
  const { inventory } = found
  const expired = inventory.expiresEpochSeconds * 1000 <= api.serverNow()
  const same = isSameStack(inventory, spec)
  if (inventory.holder === session.holder) {
    if (same || expired) return session
    throw alreadyHolds(inventory)
  }
  const lease = await namespaceLease(api, spec.namespace, session.signal)
  const kept = inventory.lifetime === 'ttl' && !expired && lease?.active !== true
  if (!kept || lease === undefined) return session
  if (same) return { ...session, holder: inventory.holder }
  throw alreadyHolds(inventory)
}

export const isSameStack = (inventory: Inventory, spec: StackSpec): boolean =>
  inventory.stack === spec.stack && inventory.wva === (spec.autoscaling !== undefined)

export const alreadyHolds = ({ namespace, stack, wva }: Inventory): UserError =>
  new UserError('PREFLIGHT', `Namespace ${namespace} already holds the stack ${stack}${wva ? ' (under WVA)' : ''}.`, {
    why: 'One namespace holds one stack: two would share names, volumes and GPU quota.',
    next: `Tear it down first (mode: teardown, namespace: ${namespace}), or use another namespace.`,
  })
