import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeObject } from '../../../src/stack/kube.ts'

export type Query = Readonly<Record<string, string>>
export interface WatchEvent {
  readonly type: string
  readonly object: KubeObject
}
export interface ApplyOptions {
  readonly fieldManager: string
  readonly force?: boolean
  readonly subresource?: string
}

/** What the programs here need of the Kubernetes API. */
export interface ClusterClient {
  list(path: string, query?: Query): Promise<{ metadata: { resourceVersion?: string }; items: KubeObject[] }>
  /** Resolves when the server ends the stream. */
  watch(path: string, query: Query, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void>
  apply(object: KubeObject, options: ApplyOptions): Promise<KubeObject>
}

export const keyOf = (object: KubeObject): string => `${object.metadata.namespace ?? ''}/${object.metadata.name}`
const retryMs = 500
/** Between the end of a watch and the next list, so that a server that ends every watch at once is not flooded. */
const pauseMs = 50

/** A live copy of one collection: list, then watch, and again from the list when the watch ends or fails. */
export class Informer {
  readonly items = new Map<string, KubeObject>()
  /** False until the first list; true also when the server does not know the kind. */
  synced = false
  /** Whether the server knew the kind when it was last asked. */
  known = false
  readonly #client: Pick<ClusterClient, 'list' | 'watch'>
  readonly #path: string
  readonly #changed: () => void

  constructor(client: Pick<ClusterClient, 'list' | 'watch'>, path: string, changed: () => void) {
    this.#client = client
    this.#path = path
    this.#changed = changed
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const { items, metadata } = await this.#client.list(this.#path, {})
        this.items.clear()
        for (const item of items) this.items.set(keyOf(item), item)
        this.synced = true
        this.known = true
        this.#changed()
        const query = { allowWatchBookmarks: 'true', resourceVersion: metadata.resourceVersion ?? '0' }
        await this.#client.watch(this.#path, query, event => this.#take(event), signal)
        await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined)
      } catch (error) {
        if ((error as { status?: number }).status === 404 && !signal.aborted) {
          this.items.clear()
          this.synced = true
          this.known = false
          this.#changed()
        }
        await sleep(retryMs, undefined, { signal, ref: false }).catch(() => undefined)
      }
    }
  }

  #take({ type, object }: WatchEvent): void {
    if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') return
    if (type === 'DELETED') this.items.delete(keyOf(object))
    else this.items.set(keyOf(object), object)
    this.#changed()
  }
}
