import type { Log } from '../log.ts'
import type { KubeObject } from '../stack/kube.ts'
import { type Api, pause } from './api.ts'
import { ApiError, isTransient } from './api-error.ts'
import { list } from './objects.ts'
import { collectionPath, type Kind, resources } from './resources.ts'

export type WatchEventType = 'ADDED' | 'MODIFIED' | 'DELETED'
export interface WatchChange {
  readonly type: WatchEventType
  readonly object: KubeObject
  /** When the event reached this process, ms since the epoch. */
  readonly at: number
}

/** The server ends a watch after this long; the loop resumes from the last resourceVersion. */
const watchSeconds = 240
const reconnectDelaysMs = [250, 1000, 2000, 5000, 10_000]

/**
 * Follows one collection until the signal aborts: list, then watch with bookmarks; resumes after a closed connection,
 * lists again after 410 Gone. `onChange` sees every difference exactly once per list, also after a relist (objects that
 * vanished meanwhile arrive as DELETED). Rejects when the server answers something that repeating cannot mend (403).
 */
export async function follow(
  api: Api,
  kind: Kind,
  namespace: string,
  options: {
    labelSelector?: string
    fieldSelector?: string
    signal: AbortSignal
    log: Log
    onChange: (change: WatchChange) => void
    /** Called after the first complete list. */
    onSynced?: () => void
  },
): Promise<void> {
  const known = new Map<string, KubeObject>()
  const { signal, log } = options
  const selectors = { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector }
  const emit = (type: WatchEventType, object: KubeObject) => options.onChange({ type, object, at: Date.now() })
  let version = ''
  let failures = 0
  let synced = false

  const relist = async () => {
    const result = await list(api, kind, namespace, { ...definedOnly(selectors), signal })
    const now = new Set<string>()
    for (const object of result.items) {
      const key = object.metadata.uid ?? object.metadata.name
      now.add(key)
      const before = known.get(key)
      known.set(key, object)
      if (!before) emit('ADDED', object)
      else if (before.metadata.resourceVersion !== object.metadata.resourceVersion) emit('MODIFIED', object)
    }
    for (const [key, object] of known) {
      if (now.has(key)) continue
      known.delete(key)
      emit('DELETED', object)
    }
    version = result.resourceVersion
    if (!synced) options.onSynced?.()
    synced = true
  }

  while (!signal.aborted) {
    try {
      if (version === '') await relist()
      const chunks = await api.stream(collectionPath(kind, namespace), {
        query: {
          ...selectors,
          watch: true,
          resourceVersion: version,
          allowWatchBookmarks: true,
          timeoutSeconds: watchSeconds,
        },
        signal,
      })
      for await (const event of jsonLines(chunks)) {
        failures = 0
        if (event.type === 'ERROR') {
          const status = event.object as unknown as { code?: number; message?: string }
          if (status.code !== 410) log.debug(`watch ${resources[kind].plural}: ${status.message ?? 'error event'}`)
          version = ''
          break
        }
        version = event.object.metadata.resourceVersion ?? version
        if (event.type === 'BOOKMARK') continue
        const object = { ...event.object, apiVersion: resources[kind].apiVersion, kind }
        const key = object.metadata.uid ?? object.metadata.name
        if (event.type === 'DELETED') known.delete(key)
        else known.set(key, object)
        emit(event.type as WatchEventType, object)
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof ApiError && error.status === 410) version = ''
      else if (!isTransient(error) && !(error instanceof ApiError && error.status === 0)) throw error
      const delay = reconnectDelaysMs[Math.min(failures++, reconnectDelaysMs.length - 1)] ?? 0
      log.debug(`watch ${resources[kind].plural} interrupted (${(error as Error).message}); again in ${delay} ms`)
      await pause(delay, signal).catch(() => undefined)
    }
  }
}

function definedOnly(o: { labelSelector?: string | undefined; fieldSelector?: string | undefined }): {
  labelSelector?: string
  fieldSelector?: string
} {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined))
}

/** Splits a stream of bytes into parsed JSON lines; a last line without an end is an unfinished event and is dropped. */
async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<{ type: string; object: KubeObject }> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true })
    let from = 0
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
      const line = rest.slice(from, end).trim()
      from = end + 1
      if (line !== '') yield JSON.parse(line) as { type: string; object: KubeObject }
    }
    rest = rest.slice(from)
  }
}
