import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https'
import type { KubeObject } from '../../src/stack/kube.ts'

export interface Connection {
  server: string
  ca: string
  token: string
  userAgent?: string
}
export interface KubeWatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: KubeObject
}

/** An answer of the API server that is not a success. */
export class KubeError extends Error {
  readonly status: number
  /** What came back. */
  readonly body: string
  /** The message of the Status, when it was one. */
  readonly detail: string | undefined
  constructor(status: number, message: string, body = '', detail?: string) {
    super(message)
    this.name = 'KubeError'
    this.status = status
    this.body = body
    this.detail = detail
  }
}

/** A Kubernetes API client on node:https alone: quick to load, for programs that stand in for a controller. */
export class KubeClient {
  readonly #connection: Connection
  readonly #agent: Agent

  constructor(connection: Connection) {
    this.#connection = connection
    this.#agent = new Agent({ keepAlive: true, ca: connection.ca })
  }

  get(path: string): Promise<KubeObject> {
    return this.#json<KubeObject>('GET', path)
  }

  list(
    path: string,
    query: Readonly<Record<string, string>> = {},
  ): Promise<{ metadata: { resourceVersion?: string }; items: KubeObject[] }> {
    return this.#json('GET', withQuery(path, query))
  }

  /** Resolves when the server ends the stream or `signal` is aborted. @throws KubeError also for an ERROR event (410) */
  async watch(
    path: string,
    query: Readonly<Record<string, string>>,
    onEvent: (event: KubeWatchEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    if (signal.aborted) return
    try {
      const response = await this.#send('GET', withQuery(path, { ...query, watch: 'true' }), undefined, signal)
      let rest = ''
      response.setEncoding('utf8')
      for await (const chunk of response) {
        const lines = (rest + String(chunk)).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          if (line === '') continue
          const event = JSON.parse(line) as KubeWatchEvent
          const status = event.object as unknown as { code?: number; message?: string }
          if (event.type === 'ERROR') throw new KubeError(status.code ?? 500, status.message ?? 'watch failed')
          onEvent(event)
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  create(object: KubeObject): Promise<KubeObject> {
    return this.#json('POST', objectPath(object).replace(/\/[^/]+$/, ''), object)
  }

  /** Writes the object as it is; a `resourceVersion` that is not the live one is a conflict (409). */
  replace(object: KubeObject, subresource?: 'status', path = objectPath(object)): Promise<KubeObject> {
    return this.#json('PUT', `${path}${subresource ? `/${subresource}` : ''}`, object)
  }

  /** Server-side apply; `subresource: 'status'` writes only the status. */
  apply(
    object: KubeObject,
    options: { fieldManager: string; force?: boolean; subresource?: string; path?: string },
  ): Promise<KubeObject> {
    const at = `${options.path ?? objectPath(object)}${options.subresource ? `/${options.subresource}` : ''}`
    const query = { fieldManager: options.fieldManager, force: String(options.force ?? false) }
    return this.#json('PATCH', withQuery(at, query), object, 'application/apply-patch+yaml')
  }

  /** Lays `status` over the object's own. */
  patchStatus(path: string, status: Record<string, unknown>): Promise<KubeObject> {
    return this.#json('PATCH', `${path}/status`, { status }, 'application/merge-patch+json')
  }

  close(): void {
    this.#agent.destroy()
  }

  async #json<T>(method: string, path: string, body?: unknown, type = 'application/json'): Promise<T> {
    const response = await this.#send(
      method,
      path,
      body === undefined ? undefined : { type, text: JSON.stringify(body) },
    )
    return JSON.parse(await textOf(response)) as T
  }

  async #send(
    method: string,
    path: string,
    body?: { type: string; text: string },
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const { server, token, userAgent } = this.#connection
    const headers = {
      ...{ authorization: `Bearer ${token}`, accept: 'application/json' },
      ...(userAgent ? { 'user-agent': userAgent } : {}),
      ...(body ? { 'content-type': body.type, 'content-length': String(Buffer.byteLength(body.text)) } : {}),
    }
    const options: RequestOptions = { method, headers, agent: this.#agent, ...(signal ? { signal } : {}) }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      httpsRequest(new URL(path, server), options, resolve).on('error', reject).end(body?.text)
    })
    const status = response.statusCode ?? 0
    if (status < 300) return response
    const text = await textOf(response)
    let detail: string | undefined
    try {
      detail = (JSON.parse(text) as { message?: string }).message
    } catch {
      // Not a Status: the text itself has to do.
    }
    throw new KubeError(status, `${method} ${path}: ${status} ${(detail ?? text).slice(0, 500)}`, text, detail)
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  response.setEncoding('utf8')
  for await (const chunk of response) text += String(chunk)
  return text
}

const withQuery = (path: string, query: Readonly<Record<string, string>>): string => {
  const text = new URLSearchParams(query).toString()
  return text === '' ? path : `${path}?${text}`
}

const clusterScoped = new Set([
  'Namespace',
  'Node',
  'GatewayClass',
  'ClusterRole',
  'ClusterRoleBinding',
  'StorageClass',
  'PersistentVolume',
  'APIService',
  'CustomResourceDefinition',
])

/** Where an object is found, by the usual plural of its kind. */
export function objectPath(object: KubeObject): string {
  const kind = object.kind.toLowerCase()
  const plural =
    kind === 'endpoints'
      ? kind
      : /(s|ss|x|ch)$/.test(kind)
        ? `${kind}es`
        : /[^aeiou]y$/.test(kind)
          ? `${kind.slice(0, -1)}ies`
          : `${kind}s`
  const base = object.apiVersion.includes('/') ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`
  const space = clusterScoped.has(object.kind) ? '' : `/namespaces/${object.metadata.namespace ?? 'default'}`
  return `${base}${space}/${plural}/${object.metadata.name}`
}

/** From a kubeconfig with a bearer token and inline CA data, as a sandbox or a test cluster writes it. */
export async function kubeconfigClient(text: string): Promise<KubeClient> {
  const { parse } = await import('yaml')
  const config = parse(text) as {
    clusters: { cluster: Record<string, string> }[]
    users: { user: { token: string } }[]
  }
  const cluster = config.clusters[0]?.cluster ?? {}
  const ca = Buffer.from(cluster['certificate-authority-data'] ?? '', 'base64').toString('utf8')
  return new KubeClient({ server: cluster.server ?? '', ca, token: config.users[0]?.user.token ?? '' })
}
