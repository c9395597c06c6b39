import type { Api } from '../cluster/api.ts'
import { isForbidden } from '../cluster/api-error.ts'
import { goneTimeoutMs, removeStack } from '../cluster/remove.ts'
import { collectionPath, objectPath } from '../cluster/resources.ts'
import { UserError } from '../errors.ts'
import type { StandupInputs } from '../inputs.ts'
import { fieldManager } from '../stack/kube.ts'
import type { StackSpec } from '../stack/spec.ts'
import { alreadyHolds, isSameStack } from './identity.ts'
import { findInventory, type Session } from './session.ts'

/**
 * One namespace holds one stack. A stack that has expired is removed first, as its owner asked with `ttl`; any other is
 * left alone.
 * @throws UserError PREFLIGHT when another stack stands there.
 */
export async function makeRoom(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<void> {
  const { log, signal } = session
  const found = await findInventory(api, spec.namespace, signal)
  if (found === undefined || isSameStack(found.inventory, spec)) return
  const { stack, harnessNamespace, expiresEpochSeconds } = found.inventory
  if (expiresEpochSeconds * 1000 > api.serverNow()) throw alreadyHolds(found.inventory)
  log.info(`stack ${stack} expired at ${new Date(expiresEpochSeconds * 1000).toISOString()}: removing it first`)
  session.touch()
  const namespaces = [...new Set([spec.namespace, harnessNamespace])]
  const request = { namespaces, stack, deep: false, purge: false, timeoutMs: goneTimeoutMs, signal, log }
  const { leftovers, failures } = await removeStack(api, request)
  if (leftovers.length + failures.length === 0) return
  throw new UserError('LEFTOVERS', `The expired stack ${stack} could not be removed.`, {
    why: [...leftovers, ...failures].join('; ').slice(0, 1000),
    next: `Run mode: teardown for ${spec.namespace}.`,
  })
}

/** Creates what is missing; a namespace is never changed and never deleted. */
export async function ensureNamespaces(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<void> {
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
