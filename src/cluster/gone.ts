import type { Log } from '../log.ts'
import type { KubeObject } from '../stack/kube.ts'
import type { Api } from './api.ts'
import { Observer } from './observer.ts'
import { describe, kindOf } from './resources.ts'

/** Longest time that one object of ours takes to go: its grace period and a slow kubelet. */
const goneMs = 5 * 60_000

/** Returns when an object that was deleted is no longer there, told by a watch on its name. */
export async function waitUntilGone(api: Api, object: KubeObject, signal: AbortSignal, log: Log): Promise<void> {
  const kind = kindOf(object)
  const { name, namespace = '', uid } = object.metadata
  const observer = new Observer(api, namespace, log, signal)
  try {
    await observer.watch(kind, { fieldSelector: `metadata.name=${name}` })
    await observer.until(view => (view.get(kind, name)?.metadata.uid === uid ? undefined : true), {
      timeoutMs: goneMs,
      onTimeout: () => new Error(`${describe(object)} is still there`),
    })
  } finally {
    await observer.close()
  }
}
