import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import { quoted } from '../stack/foreign.ts'
import type { KubeObject } from '../stack/kube.ts'
import type { Api } from './api.ts'
import { Observer } from './observer.ts'
import { describe, kindOf } from './resources.ts'

/** Longest time that one object of ours takes to go: its grace period and a slow kubelet. */
const goneMs = 5 * 60_000

/**
 * Returns when an object that was deleted is no longer there, told by a watch on its name.
 * @throws UserError LEFTOVERS with the finalizers that hold it
 */
export async function waitUntilGone(
  api: Api,
  object: KubeObject,
  signal: AbortSignal,
  log: Log,
  timeoutMs = goneMs,
): Promise<void> {
  const kind = kindOf(object)
  const { name, namespace = '', uid } = object.metadata
  const observer = new Observer(api, namespace, log, signal)
  try {
    await observer.watch(kind, { fieldSelector: `metadata.name=${name}` })
    await observer.until(view => (view.get(kind, name)?.metadata.uid === uid ? undefined : true), {
      timeoutMs,
      onTimeout: view => stillThere(object, view.get(kind, name)?.metadata.finalizers ?? []),
    })
  } finally {
    await observer.close()
  }
}

const stillThere = (object: KubeObject, finalizers: readonly string[]): UserError =>
  new UserError('LEFTOVERS', `${describe(object)} was deleted and is still there.`, {
    why:
      finalizers.length > 0
        ? `It is held by finalizers: ${finalizers.map(f => quoted(f, '?')).join(', ')}.`
        : 'Its node or its controller does not answer.',
    next: 'Look at its events; an object that a finalizer holds needs its controller, or `kubectl edit` to remove the finalizer.',
  })
