import { randomBytes, randomUUID } from 'node:crypto'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import { applyDefaults, type Surroundings, validate } from './admission.ts'
import { applyConfiguration, trackUpdate, type Writer } from './apply.ts'
import { type Dict, dict } from './dict.ts'
import { History, type StoreEvent } from './history.ts'
import { detailsOf, notFound, type Registry, type ResourceKind } from './kinds.ts'
import { same } from './same.ts'
import type { Selector } from './selectors.ts'

export type { StoreEvent } from './history.ts'

export interface WriteOptions {
  manager?: string
  subresource?: 'status' | 'scale'
  dryRun?: boolean
}
export interface DeleteOptions {
  graceSeconds?: number
  propagation?: 'Background' | 'Foreground' | 'Orphan'
  uid?: string
  resourceVersion?: string
  dryRun?: boolean
}

const now = (ms = Date.now()): string => `${new Date(ms).toISOString().slice(0, 19)}Z`
const keyOf = (namespace: string | undefined, name: string): string => `${namespace ?? ''}/${name}`

/**
 * All objects of one cluster, with what the API server does on every write: defaults, validation, ownership of fields,
 * generation, resource version, finalizers, grace. Controllers and tests of the same process use it directly, by
 * resource id; `namespace` is undefined (or '') for cluster-scoped kinds. Every method returns copies.
 */
export class Store {
  readonly registry: Registry
  readonly #objects = new Map<string, Map<string, KubeObject>>()
  readonly #history: History

  constructor(registry: Registry, historySize: number) {
    this.registry = registry
    this.#history = new History(historySize)
  }

  get resourceVersion(): number {
    return this.#history.version
  }
  /** Watches from before this version get 410. */
  get oldestVersion(): number {
    return this.#history.oldest
  }
  /** Forgets all history, as a compaction of the database does. */
  compact(): void {
    this.#history.compact()
  }
  since(version: number): readonly StoreEvent[] {
    return this.#history.since(version)
  }
  /** Calls back after every write, in order, never inside the write itself. Returns how to stop. */
  subscribe(onEvent: (event: StoreEvent) => void): () => void {
    return this.#history.subscribe(onEvent)
  }

  get(resource: string, namespace: string | undefined, name: string): KubeObject | undefined {
    return structuredClone(this.peek(resource, namespace, name))
  }
  /** The stored object itself, frozen. */
  peek(resource: string, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#objects.get(resource)?.get(keyOf(namespace, name))
  }
  list(resource: string, namespace?: string, selector: Selector = () => true): KubeObject[] {
    return structuredClone(this.peekAll(resource, namespace, selector))
  }
  /** Sorted by namespace and name, as a server lists. */
  peekAll(resource: string, namespace?: string, selector: Selector = () => true): KubeObject[] {
    const all = [...(this.#objects.get(resource)?.entries() ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))
    return all.map(([, o]) => o).filter(o => (!namespace || o.metadata.namespace === namespace) && selector(o))
  }

  create(input: KubeObject, options: WriteOptions = {}): KubeObject {
    return structuredClone(
      this.#create(structuredClone(input), options, created => {
        trackUpdate(this.registry.of(created), undefined, created, { manager: options.manager ?? 'sandbox' })
      }),
    )
  }

  #create(object: KubeObject, options: WriteOptions, own: (object: KubeObject) => void): KubeObject {
    const kind = this.registry.of(object)
    const meta = object.metadata
    if (!meta.name && typeof meta.generateName === 'string')
      meta.name = meta.generateName + randomBytes(3).toString('hex').slice(0, 5)
    if (!meta.name)
      throw new ApiStatusError(
        422,
        `${kind.kind} "" is invalid: metadata.name: Required value: name or generateName is required`,
      )
    if (!kind.namespaced) delete meta.namespace
    else this.#requireNamespace(kind, meta.name, meta.namespace)
    if (this.peek(kind.id, meta.namespace, meta.name)) {
      throw new ApiStatusError(
        409,
        `${kind.id} "${meta.name}" already exists`,
        'AlreadyExists',
        detailsOf(kind, meta.name),
      )
    }
    const given = { deletionTimestamp: undefined, managedFields: undefined, resourceVersion: undefined }
    object.metadata = { ...meta, ...given, uid: randomUUID(), creationTimestamp: now() }
    for (const k of Object.keys(given)) delete object.metadata[k]
    if (kind.hasGeneration) object.metadata.generation = 1
    // Nodes report themselves; every other status starts empty.
    if (kind.hasStatus && kind.id !== 'nodes') delete object.status
    own(object)
    // A workload shows an empty status before its controller has looked at it.
    if (kind.group === 'apps' || kind.group === 'batch') object.status = {}
    applyDefaults(kind, object, this.#surroundings(), true)
    validate(kind, object)
    if (kind.id === 'customresourcedefinitions.apiextensions.k8s.io' && !options.dryRun)
      this.registry.registerDefinition(object, now())
    return options.dryRun ? object : this.#put(kind, 'ADDED', object)
  }

  /**
   * Replaces an object (or only its status). A resource version in it must be the current one. Nothing is written when
   * nothing changed.
   */
  update(input: KubeObject, options: WriteOptions = {}): KubeObject {
    const kind = this.registry.of(input)
    const live = this.#require(kind, input.metadata.namespace, input.metadata.name)
    const next = structuredClone(input)
    if (kind.putCreates && !next.metadata.resourceVersion) {
      const [field, message] = ['metadata.resourceVersion', 'Invalid value: 0: must be specified for an update']
      throw new ApiStatusError(422, `${kind.id} "${next.metadata.name}" is invalid: ${field}: ${message}`, 'Invalid', {
        ...detailsOf(kind, next.metadata.name),
        causes: [{ reason: 'FieldValueInvalid', message, field }],
      })
    }
    this.#checkPreconditions(kind, live, next.metadata)
    this.#keepServerFields(kind, live, next, options.subresource)
    const { manager = 'sandbox', subresource } = options
    trackUpdate(kind, live, next, { manager, ...(subresource ? { subresource } : {}) })
    return structuredClone(this.#replace(kind, live, next, options))
  }

  /** Reads, changes and writes back in one go; `change` gets a copy to edit in place. */
  modify(
    resource: string,
    namespace: string | undefined,
    name: string,
    change: (draft: KubeObject) => void,
    options: WriteOptions = {},
  ) {
    const draft = structuredClone(this.#require(this.registry.byId(resource), namespace, name))
    change(draft)
    return this.update(draft, options)
  }

  /** Writes the status: fields to lay over it, or a function from the old to the new one. */
  patchStatus(
    resource: string,
    namespace: string | undefined,
    name: string,
    status: Dict | ((old: Dict) => Dict),
  ): KubeObject {
    const edit = (draft: KubeObject) => {
      const old = dict(draft.status)
      draft.status = typeof status === 'function' ? status(old) : { ...old, ...status }
    }
    return this.modify(resource, namespace, name, edit, { subresource: 'status' })
  }

  /** Server-side apply. Creates the object when it does not exist. */
  apply(input: KubeObject, writer: Writer & { force: boolean; dryRun?: boolean }): KubeObject {
    const kind = this.registry.of(input)
    const applied = structuredClone(input)
    const { name, namespace } = applied.metadata
    const { status, ...rest } = applied
    const part: KubeObject =
      writer.subresource === 'status' ? { ...base(applied), status } : kind.hasStatus ? (rest as KubeObject) : applied
    const live = this.peek(kind.id, namespace, name)
    const options: WriteOptions = { dryRun: writer.dryRun ?? false }
    if (!live) {
      if (writer.subresource) throw notFound(kind, name)
      const manage = (o: KubeObject) => {
        o.metadata.managedFields = applyConfiguration(kind, undefined, part, writer).metadata.managedFields ?? []
      }
      return structuredClone(this.#create(part, options, manage))
    }
    this.#checkPreconditions(kind, live, applied.metadata)
    const next = applyConfiguration(kind, live, part, writer)
    this.#keepServerFields(kind, live, next, writer.subresource === 'status' ? 'status' : undefined)
    return structuredClone(this.#replace(kind, live, next, options))
  }

  #keepServerFields(kind: ResourceKind, live: KubeObject, next: KubeObject, subresource?: string): void {
    const isStatus = subresource === 'status'
    for (const field of Object.keys(isStatus ? { ...live, ...next } : {})) {
      if (field !== 'status' && field !== 'metadata') setOrDelete(next, field, structuredClone(live[field]))
    }
    const { managedFields } = next.metadata
    if (isStatus) next.metadata = structuredClone(live.metadata)
    else if (kind.hasStatus) setOrDelete(next, 'status', structuredClone(live.status))
    for (const field of [
      'uid',
      'creationTimestamp',
      'deletionTimestamp',
      'deletionGracePeriodSeconds',
      'generation',
      'resourceVersion',
    ]) {
      setOrDelete(next.metadata, field, live.metadata[field])
    }
    setOrDelete(next.metadata, 'managedFields', managedFields)
  }

  #replace(kind: ResourceKind, live: KubeObject, next: KubeObject, options: WriteOptions): KubeObject {
    if (options.subresource !== 'status') {
      applyDefaults(kind, next, this.#surroundings(), false)
      validate(kind, next, live)
      if (kind.hasGeneration && !same(desired(live), desired(next))) {
        next.metadata.generation = (live.metadata.generation ?? 1) + 1
      }
    }
    next.apiVersion = live.apiVersion
    if (same(live, next)) return live
    if (options.dryRun) return next
    if (next.metadata.deletionTimestamp !== undefined && isFinished(kind, next)) return this.#remove(kind, next)
    return this.#put(kind, 'MODIFIED', next)
  }

  /** Deletes, or marks as being deleted while finalizers or a pod's grace period hold it. */
  delete(
    resource: string,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): { object: KubeObject; removed: boolean } {
    const kind = this.registry.byId(resource)
    const live = this.#require(kind, namespace, name)
    this.#checkPreconditions(kind, live, { ...live.metadata, ...options })
    const next = structuredClone(live)
    const meta = next.metadata
    const grace = kind.id === 'pods' ? graceOf(next, options.graceSeconds) : 0
    const held = new Set(meta.finalizers ?? [])
    const propagation = options.propagation ?? (kind.id === 'jobs.batch' ? 'Orphan' : 'Background')
    if (propagation === 'Foreground') held.add('foregroundDeletion')
    if (propagation === 'Orphan') held.add('orphan')
    if (held.size > 0) meta.finalizers = [...held]
    const sooner = grace < Number(meta.deletionGracePeriodSeconds ?? Number.POSITIVE_INFINITY)
    if (sooner) {
      if (kind.hasGeneration && meta.deletionTimestamp === undefined) meta.generation = (meta.generation ?? 1) + 1
      Object.assign(meta, { deletionTimestamp: now(Date.now() + grace * 1000), deletionGracePeriodSeconds: grace })
    }
    if (kind.id === 'namespaces') next.status = { ...dict(next.status), phase: 'Terminating' }
    const removed = isFinished(kind, next)
    if (options.dryRun || same(live, next)) return { object: next, removed }
    const object = removed ? this.#remove(kind, next) : this.#put(kind, 'MODIFIED', next)
    return { object: structuredClone(object), removed }
  }

  #remove(kind: ResourceKind, object: KubeObject): KubeObject {
    if (kind.id === 'customresourcedefinitions.apiextensions.k8s.io') {
      for (const o of this.peekAll(object.metadata.name))
        this.delete(object.metadata.name, o.metadata.namespace, o.metadata.name)
      this.registry.unregister(object.metadata.name)
    }
    return this.#put(kind, 'DELETED', object)
  }

  #put(kind: ResourceKind, type: StoreEvent['type'], object: KubeObject): KubeObject {
    const key = keyOf(object.metadata.namespace, object.metadata.name)
    const table = this.#objects.get(kind.id) ?? new Map<string, KubeObject>()
    this.#objects.set(kind.id, table)
    const previous = table.get(key)
    const resourceVersion = this.#history.next()
    object.metadata.resourceVersion = String(resourceVersion)
    freeze(object)
    if (type === 'DELETED') table.delete(key)
    else table.set(key, object)
    this.#history.record({ type, resource: kind.id, resourceVersion, object, ...(previous ? { previous } : {}) })
    return object
  }

  #require(kind: ResourceKind, namespace: string | undefined, name: string): KubeObject {
    const live = this.peek(kind.id, kind.namespaced ? namespace : undefined, name)
    if (!live) throw notFound(kind, name)
    return live
  }

  #requireNamespace(kind: ResourceKind, name: string, namespace: string | undefined): void {
    const found = this.peek('namespaces', undefined, namespace ?? '')
    if (!found) throw notFound(this.registry.byId('namespaces'), namespace ?? '')
    if (found.metadata.deletionTimestamp === undefined) return
    const text = `unable to create new content in namespace ${namespace} because it is being terminated`
    const causes = [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ]
    throw new ApiStatusError(403, `${kind.id} "${name}" is forbidden: ${text}`, 'Forbidden', {
      ...detailsOf(kind, name),
      causes,
    })
  }

  #checkPreconditions(kind: ResourceKind, live: KubeObject, given: { uid?: string; resourceVersion?: string }): void {
    const { uid, resourceVersion } = live.metadata
    const start = `Operation cannot be fulfilled on ${kind.id} "${live.metadata.name}": `
    const refuse = (text: string) =>
      new ApiStatusError(409, start + text, 'Conflict', detailsOf(kind, live.metadata.name))
    if (given.uid && given.uid !== uid)
      throw refuse(`Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${uid}`)
    if (given.resourceVersion && given.resourceVersion !== resourceVersion) {
      throw refuse('the object has been modified; please apply your changes to the latest version and try again')
    }
  }

  #surroundings(): Surroundings {
    const isDefault = (o: KubeObject) =>
      o.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true'
    const services = () => this.peekAll('services').map(s => dict(s.spec))
    return {
      defaultStorageClass: () => this.peekAll('storageclasses.storage.k8s.io').find(isDefault)?.metadata.name,
      clusterIps: () => new Set(services().map(s => String(s.clusterIP))),
      nodePorts: () =>
        new Set(services().flatMap(s => ((s.ports ?? []) as { nodePort?: number }[]).map(p => p.nodePort ?? 0))),
    }
  }
}

const base = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => {
  return {
    apiVersion,
    kind,
    metadata: { name: metadata.name, ...(metadata.namespace ? { namespace: metadata.namespace } : {}) },
  }
}
const desired = ({ metadata: _meta, status: _status, ...rest }: KubeObject): Dict => rest
const setOrDelete = (target: Dict, field: string, value: unknown): void => {
  if (value === undefined) delete target[field]
  else target[field] = value
}

/** Nothing holds the object any more: no finalizer, and for a pod no grace that the node still has to wait for. */
const isFinished = (kind: ResourceKind, object: KubeObject): boolean =>
  !object.metadata.finalizers?.length &&
  (kind.id !== 'pods' || object.metadata.deletionGracePeriodSeconds === 0) &&
  (kind.id !== 'namespaces' || !(dict(object.spec).finalizers as string[] | undefined)?.length)

/** A pod that no node runs goes at once. */
function graceOf(pod: KubeObject, asked: number | undefined): number {
  const spec = dict(pod.spec)
  if (!spec.nodeName || ['Succeeded', 'Failed'].includes(String(dict(pod.status).phase))) return 0
  return asked ?? Number(spec.terminationGracePeriodSeconds ?? 30)
}

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const child of Object.values(value)) freeze(child)
}
