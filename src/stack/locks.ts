import { createHash } from 'node:crypto'
import { stackLabel } from './kube.ts'

/** One Lease: where it is, what it is called, and whose it is by label. */
export interface LockRef {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}
interface Locked {
  readonly namespace: string
  readonly stack: string
  readonly model: string
  /** Present under WVA. */
  readonly autoscaling?: { readonly controllerNamespace: string } | undefined
}

export const namespaceLockName = 'llm-d-bench'

/**
 * The Leases that a stack needs, in the order in which they are taken: one stack per namespace, and one leg of a model
 * under WVA per cluster. The order is the same for all, so that no two can wait for each other.
 */
export function locksOf(of: Locked): LockRef[] {
  const labels = { [stackLabel]: of.stack }
  const own = { namespace: of.namespace, name: namespaceLockName, labels }
  if (of.autoscaling === undefined) return [own]
  const hash = createHash('sha256').update(of.model).digest('hex').slice(0, 10)
  return [own, { namespace: of.autoscaling.controllerNamespace, name: `llm-d-bench-wva-${hash}`, labels }]
}

/** How a Lease names a stack, for whoever has to clear it. */
export const lockedStack = (of: { namespace: string; stack: string }): string => `${of.namespace}/${of.stack}`

/** The reverse; undefined for a text that is no such name. */
export function stackOfLock(text: string): { namespace: string; stack: string } | undefined {
  const match = /^([a-z0-9][a-z0-9-]{0,62})\/([a-z0-9][a-z0-9-]{0,62})$/.exec(text)
  return match === null ? undefined : { namespace: match[1]!, stack: match[2]! }
}

/** Between two steps of a job the stack stays its own for so long, s. */
export const betweenStepsSeconds = 15 * 60

export interface TeardownClaim {
  readonly holder: string
  /** From a terminal a person says what goes: only a step that runs at this moment is in the way. */
  readonly byHand: boolean
  readonly force: boolean
}

/**
 * Whether a teardown may remove a stack whose Lease says this; otherwise who is in the way. A job whose standup waited in
 * vain must not tear down the stack that it waited for.
 */
export function mayTearDown(
  lease: { readonly holder: string | undefined; readonly expired: boolean; readonly active: boolean } | undefined,
  claim: TeardownClaim,
): { readonly ok: true } | { readonly ok: false; readonly holder: string; readonly active: boolean } {
  const free = lease === undefined || lease.expired || lease.holder === undefined || lease.holder === claim.holder
  if (free || claim.force || (claim.byHand && !lease.active)) return { ok: true }
  return { ok: false, holder: lease.holder, active: lease.active }
}
