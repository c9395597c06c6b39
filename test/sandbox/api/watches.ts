import type { ServerResponse } from 'node:http'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import type { StoreEvent } from './history.ts'
import { groupVersion, type ResourceKind } from './kinds.ts'
import { selectorOf } from './selectors.ts'
import type { Store } from './store.ts'

export interface WatchRequest {
  kind: ResourceKind
  version: string
  namespace: string
  query: URLSearchParams
}

/** The open watches of a server: they end on request, on their own time-out, or with the client. */
export class Watches {
  readonly #open = new Set<{ end(): void; cut(): void }>()
  readonly #store: Store
  readonly #bookmarkMs: number

  constructor(store: Store, bookmarkMs: number) {
    this.#store = store
    this.#bookmarkMs = bookmarkMs
  }

  get size(): number {
    return this.#open.size
  }
  /** Breaks every stream in the middle, as a lost connection does. */
  cut(): void {
    for (const watch of [...this.#open]) watch.cut()
  }
  /** Ends every stream cleanly. */
  end(): void {
    for (const watch of [...this.#open]) watch.end()
  }

  /** Streams `{"type", "object"}` lines until one side ends it. */
  serve({ kind, version, namespace, query }: WatchRequest, response: ServerResponse): void {
    const store = this.#store
    const selects = selectorOf(kind, { labels: query.get('labelSelector'), fields: query.get('fieldSelector') })
    const matches = (object: KubeObject | undefined) =>
      object !== undefined && (namespace === '' || object.metadata.namespace === namespace) && selects(object)
    const apiVersion = groupVersion(kind.group, version)
    const asked = query.get('resourceVersion') ?? ''
    const initial = query.get('sendInitialEvents') === 'true'
    if (initial && query.get('resourceVersionMatch') !== 'NotOlderThan') {
      const rule =
        'resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'
      throw new ApiStatusError(422, `ListOptions.meta.k8s.io "" is invalid: ${rule}`)
    }
    const fromStart = initial || asked === '' || asked === '0'
    let last = fromStart ? store.resourceVersion : Number(asked)
    const bookmarks = query.get('allowWatchBookmarks') === 'true'
    response.writeHead(200, { 'content-type': 'application/json' })
    if ('flushHeaders' in response) response.flushHeaders()

    const send = (type: string, object: object) => response.write(`${JSON.stringify({ type, object })}\n`)
    const bookmark = (annotations?: Record<string, string>) => {
      const metadata = {
        resourceVersion: String(last),
        creationTimestamp: null,
        ...(annotations ? { annotations } : {}),
      }
      send('BOOKMARK', { kind: kind.kind, apiVersion, metadata })
    }
    const forward = (event: StoreEvent) => {
      if (event.resource !== kind.id || event.resourceVersion <= last) return
      last = event.resourceVersion
      const before = event.type !== 'ADDED' && matches(event.previous)
      const after = event.type !== 'DELETED' && matches(event.object)
      const type = after ? (before ? 'MODIFIED' : 'ADDED') : 'DELETED'
      if (before || after) send(type, { ...event.object, apiVersion })
    }
    if (!fromStart && last < store.oldestVersion) {
      const text = `too old resource version: ${last} (${store.oldestVersion})`
      send('ERROR', new ApiStatusError(410, text, 'Expired').toStatus())
      response.end()
      return
    }
    if (fromStart)
      for (const object of store.peekAll(kind.id, namespace, selects)) send('ADDED', { ...object, apiVersion })
    if (initial && bookmarks) bookmark({ 'k8s.io/initial-events-end': 'true' })
    for (const event of store.since(last)) forward(event)

    const unsubscribe = store.subscribe(forward)
    const tick = bookmarks
      ? setInterval(
          () =>
            this.#mark(
              response,
              () => bookmark(),
              v => (last = Math.max(last, v)),
            ),
          this.#bookmarkMs,
        )
      : undefined
    const seconds = Number(query.get('timeoutSeconds') ?? 0) || 1800
    const timeout = setTimeout(() => watch.end(), seconds * 1000)
    tick?.unref()
    timeout.unref()
    const stop = () => {
      clearInterval(tick)
      clearTimeout(timeout)
      unsubscribe()
      this.#open.delete(watch)
    }
    const watch = {
      end: () => {
        stop()
        response.end()
      },
      cut: () => {
        stop()
        cutConnection(response)
      },
    }
    this.#open.add(watch)
    response.on('close', stop)
  }

  /** Everything up to now has been sent, so a bookmark may carry the newest version, whatever kind it belongs to. */
  #mark(response: ServerResponse, bookmark: () => void, advance: (version: number) => void): void {
    if (response.writableEnded) return
    advance(this.#store.resourceVersion)
    bookmark()
  }
}

/** Destroys the connection an answer travels on, and with HTTP/2 everything else on it, as a lost connection does. */
export function cutConnection(response: ServerResponse): void {
  const { stream } = response as unknown as { stream?: { session?: { destroy(): void } } }
  if (stream) stream.session?.destroy()
  else response.socket?.destroy()
}
