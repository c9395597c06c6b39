import { createHash, randomBytes } from 'node:crypto'
import type { KubeObject } from '../../../src/stack/kube.ts'
import type { Store, StoreEvent, WriteOptions } from '../api/store.ts'
import { ApiStatusError } from '../runtime.ts'
import { now } from './objects.ts'

/** An event's subject; `fieldPath` names a container. */
export interface EventDetail {
  type: 'Normal' | 'Warning'
  reason: string
  message: string
  component: string
  host?: string
  fieldPath?: string
}

/** How the sandbox's controllers see the cluster: objects read from the store (frozen), changes as they happen. */
export class Cluster {
  readonly store: Store
  readonly #stops: (() => void)[] = []
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #events = new Map<string, string>()
  #closed = false

  constructor(store: Store) {
    this.store = store
  }

  get<T extends KubeObject = KubeObject>(resource: string, namespace: string | undefined, name: string): T | undefined {
    return this.store.peek(resource, namespace, name) as T | undefined
  }
  list<T extends KubeObject = KubeObject>(resource: string, namespace?: string): T[] {
    return this.store.peekAll(resource, namespace) as T[]
  }

  /** Calls back for every object that exists and then for every change; never from inside a write. */
  watch(
    resources: readonly string[],
    onChange: (event: Pick<StoreEvent, 'type' | 'resource' | 'object' | 'previous'>) => void,
  ): void {
    for (const resource of resources)
      for (const object of this.store.peekAll(resource)) onChange({ type: 'ADDED', resource, object })
    this.#stops.push(
      this.store.subscribe(event => {
        if (!this.#closed && resources.includes(event.resource)) this.guard(() => onChange(event))
      }),
    )
  }

  /** Runs a write that may come too late: the object is gone, was changed meanwhile, or its namespace is going. */
  attempt<T>(write: () => T): T | undefined {
    if (this.#closed) return undefined
    try {
      return write()
    } catch (error) {
      if (error instanceof ApiStatusError && [403, 404, 409].includes(error.status)) return undefined
      throw error
    }
  }

  modify(object: KubeObject, resource: string, change: (draft: KubeObject) => void, options?: WriteOptions): void {
    this.attempt(() => {
      if (
        this.store.peek(resource, object.metadata.namespace, object.metadata.name)?.metadata.uid !== object.metadata.uid
      )
        return
      this.store.modify(resource, object.metadata.namespace, object.metadata.name, change, options)
    })
  }

  setStatus(
    object: KubeObject,
    resource: string,
    status: (old: Record<string, unknown>) => Record<string, unknown>,
    manager: string,
  ): void {
    this.modify(
      object,
      resource,
      draft => {
        draft.status = status((draft.status ?? {}) as Record<string, unknown>)
      },
      { subresource: 'status', manager },
    )
  }

  remove(object: KubeObject, resource: string, graceSeconds?: number): void {
    const { namespace, name, uid } = object.metadata
    this.attempt(() =>
      this.store.delete(resource, namespace, name, {
        ...(uid ? { uid } : {}),
        ...(graceSeconds === undefined ? {} : { graceSeconds }),
        propagation: 'Background',
      }),
    )
  }

  /** A bug in a controller must not stop the others, and must not go unseen. */
  guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      process.stderr.write(`sandbox: ${error instanceof Error ? error.stack : String(error)}\n`)
    }
  }

  after(ms: number, work: () => void): () => void {
    if (this.#closed) return () => undefined
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#closed) this.guard(work)
    }, ms)
    this.#timers.add(timer)
    return () => clearTimeout(timer)
  }

  /** A work queue: keys that come while one is waiting are done once. */
  queue(work: (key: string) => void): (key: string) => void {
    const waiting = new Set<string>()
    return key => {
      if (waiting.size === 0) {
        this.after(0, () => {
          const keys = [...waiting]
          waiting.clear()
          for (const k of keys) this.guard(() => work(k))
        })
      }
      waiting.add(key)
    }
  }

  /** Records an event as a cluster does: the same thing happening again raises `count`. */
  event(subject: KubeObject, detail: EventDetail): void {
    const { name, uid, namespace = 'default' } = subject.metadata
    const same = JSON.stringify([uid, detail.type, detail.reason, detail.message, detail.fieldPath])
    const known = this.#events.get(same)
    this.attempt(() => {
      if (known !== undefined && this.store.peek('events', namespace, known)) {
        this.store.modify('events', namespace, known, draft =>
          Object.assign(draft, { count: Number(draft.count) + 1, lastTimestamp: now() }),
        )
        return
      }
      const eventName = `${name}.${randomBytes(8).toString('hex')}`
      this.#events.set(same, eventName)
      this.store.create(
        {
          apiVersion: 'v1',
          kind: 'Event',
          metadata: { name: eventName, namespace },
          involvedObject: {
            ...{ apiVersion: subject.apiVersion, kind: subject.kind, name, namespace, uid },
            ...(detail.fieldPath ? { fieldPath: detail.fieldPath } : {}),
          },
          ...{
            type: detail.type,
            reason: detail.reason,
            message: detail.message,
            count: 1,
            firstTimestamp: now(),
            lastTimestamp: now(),
          },
          source: { component: detail.component, ...(detail.host ? { host: detail.host } : {}) },
          ...{ reportingComponent: detail.component, reportingInstance: detail.host ?? '', eventTime: null },
        },
        { manager: detail.component },
      )
    })
  }

  close(): void {
    this.#closed = true
    for (const stop of this.#stops) stop()
    for (const timer of this.#timers) clearTimeout(timer)
  }
}

export const keyOf = (object: KubeObject): string => `${object.metadata.namespace}/${object.metadata.name}`
export const splitKey = (key: string): [namespace: string, name: string] => key.split('/') as [string, string]

// No vowels and no look-alikes, as Kubernetes chooses them.
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'
export const suffix = (length = 5): string => [...randomBytes(length)].map(b => alphabet[b % alphabet.length]).join('')

/** A short stable hash of any value, independent of the order of keys. */
export function hashOf(value: unknown): string {
  const sorted = JSON.stringify(value, (_key, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  )
  return [...createHash('sha256').update(sorted).digest().subarray(0, 10)]
    .map(b => alphabet[b % alphabet.length])
    .join('')
}

export const ownerReference = (owner: KubeObject) => ({
  apiVersion: owner.apiVersion,
  kind: owner.kind,
  name: owner.metadata.name,
  uid: owner.metadata.uid ?? '',
  controller: true,
  blockOwnerDeletion: true,
})
