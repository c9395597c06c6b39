import type { KubeObject } from '../../../src/stack/kube.ts'
import { dict } from './dict.ts'
import type { Store } from './store.ts'

/**
 * What removes objects without being asked by a client: dependents of removed owners, the content of namespaces that
 * are being deleted, and the protection of volume claims that a pod uses. Driven by the store's events alone.
 */
export function startCollector(store: Store): () => void {
  const everything = (): { resource: string; object: KubeObject }[] =>
    store.registry.all().flatMap(kind => store.peekAll(kind.id).map(object => ({ resource: kind.id, object })))
  const dependentsOf = (uid: string | undefined) =>
    everything().filter(({ object }) => object.metadata.ownerReferences?.some(o => o.uid === uid))
  const drop = (
    resource: string,
    { metadata }: KubeObject,
    propagation: 'Background' | 'Foreground' = 'Background',
  ) => {
    if (metadata.deletionTimestamp === undefined)
      store.delete(resource, metadata.namespace, metadata.name, { propagation })
  }
  const releaseFinalizer = (resource: string, { metadata }: KubeObject, finalizer: string) => {
    const live = store.peek(resource, metadata.namespace, metadata.name)
    if (live?.metadata.uid !== metadata.uid || !live?.metadata.finalizers?.includes(finalizer)) return
    store.modify(resource, metadata.namespace, metadata.name, draft => {
      draft.metadata.finalizers = draft.metadata.finalizers?.filter(f => f !== finalizer) ?? []
    })
  }

  /** An object stays while any of its owners lives. */
  const collectOrphan = (resource: string, object: KubeObject) => {
    const owners = object.metadata.ownerReferences ?? []
    if (owners.length === 0) return
    const live = new Set(everything().map(({ object: o }) => o.metadata.uid))
    if (!owners.some(o => live.has(o.uid))) drop(resource, object)
  }

  const advanceDeletion = (resource: string, object: KubeObject) => {
    const finalizers = object.metadata.finalizers ?? []
    if (finalizers.includes('orphan')) {
      for (const { resource: id, object: child } of dependentsOf(object.metadata.uid)) {
        store.modify(id, child.metadata.namespace, child.metadata.name, draft => {
          draft.metadata.ownerReferences =
            draft.metadata.ownerReferences?.filter(o => o.uid !== object.metadata.uid) ?? []
        })
      }
      releaseFinalizer(resource, object, 'orphan')
    }
    if (finalizers.includes('foregroundDeletion')) {
      const children = dependentsOf(object.metadata.uid)
      for (const child of children) drop(child.resource, child.object, 'Foreground')
      if (dependentsOf(object.metadata.uid).length === 0) releaseFinalizer(resource, object, 'foregroundDeletion')
    }
    if (resource === 'namespaces') emptyNamespace(object.metadata.name)
    if (resource === 'persistentvolumeclaims') releaseClaim(object)
  }

  const emptyNamespace = (name: string) => {
    const namespace = store.peek('namespaces', undefined, name)
    if (namespace?.metadata.deletionTimestamp === undefined) return
    for (const { resource, object } of everything()) if (object.metadata.namespace === name) drop(resource, object)
    if (everything().some(({ object }) => object.metadata.namespace === name)) return
    store.modify('namespaces', undefined, name, draft => {
      draft.spec = { finalizers: [] }
    })
  }

  const releaseClaim = (claim: KubeObject) => {
    if (claim.metadata.deletionTimestamp === undefined) return
    const users = store.peekAll('pods', claim.metadata.namespace).filter(pod => {
      const volumes = (dict(pod.spec).volumes ?? []) as { persistentVolumeClaim?: { claimName: string } }[]
      const uses = volumes.some(v => v.persistentVolumeClaim?.claimName === claim.metadata.name)
      return uses && dict(pod.spec).nodeName && !['Succeeded', 'Failed'].includes(String(dict(pod.status).phase))
    })
    if (users.length === 0) releaseFinalizer('persistentvolumeclaims', claim, 'kubernetes.io/pvc-protection')
  }

  return store.subscribe(({ type, resource, object }) => {
    if (type === 'ADDED') collectOrphan(resource, object)
    if (type === 'MODIFIED' && object.metadata.deletionTimestamp !== undefined) advanceDeletion(resource, object)
    if (resource === 'pods' && type !== 'ADDED') {
      for (const claim of store.peekAll('persistentvolumeclaims', object.metadata.namespace)) releaseClaim(claim)
    }
    if (type !== 'DELETED') return
    for (const child of dependentsOf(object.metadata.uid)) collectOrphan(child.resource, child.object)
    for (const { uid } of object.metadata.ownerReferences ?? []) {
      const owner = everything().find(({ object: o }) => o.metadata.uid === uid)
      if (owner?.object.metadata.deletionTimestamp !== undefined) advanceDeletion(owner.resource, owner.object)
    }
    if (object.metadata.namespace !== undefined) emptyNamespace(object.metadata.namespace)
  })
}
