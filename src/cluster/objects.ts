import { fieldManager, type KubeObject, stackLabel } from '../stack/kube.ts'
import type { Api } from './api.ts'
import { isConflict, isNotFound } from './api-error.ts'
import { collectionPath, type Kind, kindOf, objectPath, resources } from './resources.ts'

export interface ListResult {
  readonly items: KubeObject[]
  readonly resourceVersion: string
}

/** Reads one object; undefined when it does not exist. */
export async function get(
  api: Api,
  kind: Kind,
  namespace: string | undefined,
  name: string,
  signal?: AbortSignal,
): Promise<KubeObject | undefined> {
  try {
    return await api.request<KubeObject>('GET', objectPath(kind, namespace, name), signal ? { signal } : {})
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

/** Lists a kind, page by page. Items of a list carry no apiVersion and kind on the wire; they get them back here. */
export async function list(
  api: Api,
  kind: Kind,
  namespace: string | undefined,
  options: { labelSelector?: string; fieldSelector?: string; signal?: AbortSignal } = {},
): Promise<ListResult> {
  const items: KubeObject[] = []
  let next: string | undefined
  for (;;) {
    const page = await api.request<{
      items?: KubeObject[]
      metadata?: { resourceVersion?: string; continue?: string }
    }>('GET', collectionPath(kind, namespace), {
      query: { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector, limit: 500, continue: next },
      ...(options.signal ? { signal: options.signal } : {}),
    })
    const { apiVersion } = resources[kind]
    for (const item of page.items ?? []) items.push({ ...item, apiVersion, kind })
    next = page.metadata?.continue || undefined
    if (next === undefined) return { items, resourceVersion: page.metadata?.resourceVersion ?? '' }
  }
}

/** Server-side apply as our field manager, strict about unknown fields, never taking a field from another manager. */
export function apply(
  api: Api,
  object: KubeObject,
  options: { signal?: AbortSignal; dryRun?: boolean } = {},
): Promise<KubeObject> {
  return api.request<KubeObject>('PATCH', objectPath(kindOf(object), object.metadata.namespace, object.metadata.name), {
    query: { fieldManager, fieldValidation: 'Strict', force: false, dryRun: options.dryRun ? 'All' : undefined },
    contentType: 'application/apply-patch+yaml',
    body: object,
    ...(options.signal ? { signal: options.signal } : {}),
  })
}

/** Creates an object. Not retried: an answer that was lost may have been a success, and a second try would be a conflict. */
export function create(api: Api, object: KubeObject, signal?: AbortSignal): Promise<KubeObject> {
  return api.request<KubeObject>('POST', collectionPath(kindOf(object), object.metadata.namespace), {
    query: { fieldManager, fieldValidation: 'Strict' },
    body: object,
    ...(signal ? { signal } : {}),
  })
}

/**
 * Replaces an object that was read before, only if nobody has changed it since (409 otherwise). The uid matters as much as
 * the resource version: for some kinds, Leases among them, a PUT without it creates what has been deleted.
 */
export function replace(api: Api, object: KubeObject, signal?: AbortSignal): Promise<KubeObject> {
  const { namespace, name, uid, resourceVersion } = object.metadata
  if (!uid || !resourceVersion) throw new Error(`${object.kind} ${name} was not read before it is replaced`)
  return api.request<KubeObject>('PUT', objectPath(kindOf(object), namespace, name), {
    query: { fieldManager, fieldValidation: 'Strict' },
    body: object,
    ...(signal ? { signal } : {}),
  })
}

export function mergePatch(
  api: Api,
  kind: Kind,
  namespace: string,
  name: string,
  patch: unknown,
  signal?: AbortSignal,
): Promise<KubeObject> {
  return api.request<KubeObject>('PATCH', objectPath(kind, namespace, name), {
    query: { fieldManager },
    contentType: 'application/merge-patch+json',
    body: patch,
    ...(signal ? { signal } : {}),
  })
}

export interface DeleteOptions {
  readonly graceSeconds?: number
  readonly propagation?: 'Background' | 'Foreground'
  /** Spares the object also when it was changed since it was read. */
  readonly unchanged?: boolean
  readonly signal?: AbortSignal
}

/**
 * Deletes one object that was read before: the UID is a precondition, so that an object of the same name made by
 * somebody else in between survives. Gone already is success.
 * @returns false when the object was replaced by another of the same name (or changed, with `unchanged`).
 */
export async function remove(api: Api, object: KubeObject, options: DeleteOptions = {}): Promise<boolean> {
  const { resourceVersion } = object.metadata
  try {
    await api.request('DELETE', objectPath(kindOf(object), object.metadata.namespace, object.metadata.name), {
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: options.propagation ?? 'Background',
        ...(object.metadata.uid === undefined ? {} : { preconditions: { uid: object.metadata.uid } }),
        ...(options.unchanged ? { preconditions: { uid: object.metadata.uid, resourceVersion } } : {}),
        ...(options.graceSeconds === undefined ? {} : { gracePeriodSeconds: options.graceSeconds }),
      },
      ...(options.signal ? { signal: options.signal } : {}),
    })
    return true
  } catch (error) {
    if (isNotFound(error)) return true
    if (isConflict(error)) return false
    throw error
  }
}

/** True only for objects that carry our ownership label, of this stack when one is given. */
export const isOurs = (object: KubeObject, stack?: string): boolean => {
  const owner = object.metadata.labels?.[stackLabel]
  return owner !== undefined && owner !== '' && (stack === undefined || owner === stack)
}
