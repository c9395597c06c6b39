import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer, type ServerHttp2Session } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { ApiStatusError, type PodRuntime } from '../runtime.ts'
import { authorize, review, Tokens, type User } from './access.ts'
import { aggregatedVersions, apiServiceOf, serveAggregated } from './aggregation.ts'
import { startCollector } from './collect.ts'
import { certificates, kubeconfig } from './credentials.ts'
import { parseBody } from './decode.ts'
import { discover } from './discovery.ts'
import { Faults, type RecordedRequest } from './faults.ts'
import { type CrdSpec, notFound, platformCrds, Registry } from './kinds.ts'
import { proxiedPath, servePodProxy } from './pod-proxy.ts'
import { attributesOf, handle, reply, targetOf } from './routes.ts'
import { Store } from './store.ts'
import { ExecServer, serveLog } from './streams.ts'
import { cutConnection, Watches } from './watches.ts'

export interface ApiServerOptions {
  /** Custom resources; by default those of a complete platform. */
  crds?: readonly CrdSpec[]
  /** How often a watch that allows it gets a BOOKMARK. */
  bookmarkMs?: number
  /** How many changes a watch can resume from. */
  historySize?: number
  /** False offers HTTP/1.1 alone. */
  http2?: boolean
  port?: number
  /** Address to listen on. */
  host?: string
}

export interface ApiServer {
  url: string
  caPem: string
  /** May do everything. */
  adminToken: string
  tokens: Tokens
  store: Store
  faults: Faults
  /** A kubeconfig for one token (the administrator's unless given), as YAML. */
  kubeconfig(options?: { token?: string; namespace?: string; server?: string; proxyUrl?: string }): string
  requests(): RecordedRequest[]
  /** Who answers logs and exec; until then both are 503. */
  setRuntime(runtime: PodRuntime): void
  close(): Promise<void>
}

/** Starts a Kubernetes API server on a loopback port. The namespaces `default` and `kube-system` exist. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const host = options.host ?? '127.0.0.1'
  const store = new Store(new Registry(options.crds ?? platformCrds), options.historySize ?? 5000)
  const stopCollector = startCollector(store)
  const watches = new Watches(store, options.bookmarkMs ?? 60_000)
  const execs = new ExecServer()
  const tokens = new Tokens()
  const adminToken = tokens.add({ name: 'kubernetes-admin', groups: ['system:masters'] })
  const cutAll = () => {
    watches.cut()
    execs.cut()
  }
  const faults = new Faults({ dropStreams: cutAll, compact: () => store.compact() })
  const requests: { record: RecordedRequest; response: ServerResponse | undefined }[] = []
  let runtime: PodRuntime | undefined
  for (const name of ['default', 'kube-system'])
    store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })

  /** Common to requests and upgrades: who asks, what is recorded, whether a fault strikes. */
  const admit = async (
    request: IncomingMessage,
    url: URL,
    body: string,
    response?: ServerResponse,
  ): Promise<{ user: User; record: RecordedRequest; answerLost: boolean }> => {
    const record: RecordedRequest = {
      ...{ method: request.method ?? 'GET', path: url.pathname, query: Object.fromEntries(url.searchParams), user: '' },
      ...{ userAgent: String(request.headers['user-agent'] ?? ''), status: 0, at: Date.now(), body },
    }
    requests.push({ record, response })
    try {
      const user = tokens.authenticate(request.headers.authorization)
      record.user = user.name
      return { user, record, answerLost: await faults.strike(record) }
    } catch (error) {
      record.status = error instanceof ApiStatusError ? error.status : 0
      throw error
    }
  }

  const podOf = (namespace: string, name: string) => {
    const pod = store.peek('pods', namespace, name)
    if (!pod) throw notFound(store.registry.byId('pods'), name)
    if (!runtime) throw new ApiStatusError(503, 'no node agent is connected')
    return { pod, runtime }
  }

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'https://sandbox')
    const body = await readBody(request)
    const { user, record, answerLost } = await admit(request, url, body, response)
    const found =
      request.method === 'GET' ? discover(store.registry, url.pathname, aggregatedVersions(store)) : undefined
    if (typeof found === 'string') return void response.writeHead(200, { 'content-type': 'text/plain' }).end(found)
    if (found) return reply(response, { status: 200, body: found })
    const contentType = String(request.headers['content-type'] ?? 'application/json').split(';')[0] ?? ''
    const reviewed = /^\/apis\/auth(?:orization|entication)\.k8s\.io\/v1\/([a-z]+)$/.exec(url.pathname)?.[1]
    if (reviewed && request.method === 'POST') {
      const answer = review(user, reviewed, parseBody({ body, contentType }))
      if (answer) return reply(response, { status: 201, body: answer })
    }
    const apiService = apiServiceOf(store, url.pathname)
    if (apiService) return serveAggregated(store, apiService, { request, url, body, user }, response)
    const target = targetOf(store.registry, url.pathname)
    const group = /^\/apis\/([^/]+)/.exec(url.pathname)?.[1]
    // Only the built-in groups have a Status for what they do not serve.
    if (!target && group && !store.registry.all().some(k => k.builtin && k.group === group))
      return void response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('404 page not found\n')
    if (!target) throw new ApiStatusError(404, 'the server could not find the requested resource', 'NotFound', {})
    const attributes = attributesOf(target, record.method, url.searchParams)
    authorize(user, target.kind, attributes)
    if (attributes.verb === 'watch') return watches.serve({ ...target, query: url.searchParams }, response)
    if (target.kind.id === 'pods' && target.subresource === 'log') {
      const { pod, runtime: node } = podOf(target.namespace, target.name)
      return serveLog(pod, url.searchParams, node, response)
    }
    const path = proxiedPath(target, url.pathname)
    if (path !== undefined) return servePodProxy(store, target, { request, url, body, path }, response)
    if (target.subresource === 'exec') throw new ApiStatusError(400, 'Upgrade request required')
    const { method, userAgent } = record
    const answer = handle(store, target, { method, query: url.searchParams, contentType, userAgent, body, user })
    if (answerLost) throw Faults.dropped
    reply(response, answer)
  }

  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const url = new URL(request.url ?? '/', 'https://sandbox')
    const { user, record } = await admit(request, url, '')
    record.query.command = url.searchParams.getAll('command').join(' ')
    const target = targetOf(store.registry, url.pathname)
    if (target?.kind.id !== 'pods' || target.subresource !== 'exec') throw new ApiStatusError(404, 'no such connection')
    for (const method of ['GET', 'POST']) authorize(user, target.kind, attributesOf(target, method, url.searchParams))
    const { pod, runtime: node } = podOf(target.namespace, target.name)
    execs.serve(pod, url.searchParams, node, request, socket, head)
    record.status = 101
  }

  const pems = await certificates(host)
  const tls = { key: pems.key, cert: pems.cert }
  const server = options.http2 === false ? createHttpsServer(tls) : createSecureServer({ ...tls, allowHTTP1: true })
  const sockets = new Set<Socket>()
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', session => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session)).on('error', () => undefined)
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
  })
  server.on('request', (request, response) => {
    // The HTTP/2 compatibility classes have the members that we use; their types are not related.
    const [req, res] = [request, response] as unknown as [IncomingMessage, ServerResponse]
    res.on('error', () => undefined)
    serve(req, res).catch(error => refuse(res, error))
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => undefined)
    upgrade(request, socket, head).catch(error => refuseUpgrade(socket, error))
  })
  await new Promise<void>(resolve => server.listen(options.port ?? 0, host, resolve))
  const url = `https://${host}:${(server.address() as AddressInfo).port}`

  return {
    ...{ url, caPem: pems.ca, adminToken, tokens, store, faults },
    kubeconfig: (config = {}) => kubeconfig({ url, caPem: pems.ca, token: adminToken, ...config }),
    requests: () =>
      requests.map(({ record, response }) =>
        response?.headersSent ? { ...record, status: response.statusCode } : { ...record },
      ),
    setRuntime: node => {
      runtime = node
    },
    close: async () => {
      stopCollector()
      watches.end()
      execs.cut()
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      // One turn for the ends of the streams to leave.
      await delay(0)
      for (const session of sessions) session.destroy()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

const asStatus = (error: unknown): ApiStatusError =>
  error instanceof ApiStatusError
    ? error
    : new ApiStatusError(500, `Internal error occurred: ${(error as Error).stack}`)

function refuse(response: ServerResponse, error: unknown): void {
  if (error === Faults.dropped) {
    cutConnection(response)
    return
  }
  const status = asStatus(error)
  const wait = status.details?.retryAfterSeconds
  reply(
    response,
    { status: status.status, body: status.toStatus() },
    wait === undefined ? {} : { 'retry-after': String(wait) },
  )
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  if (error === Faults.dropped) return void socket.destroy()
  const status = asStatus(error)
  const body = JSON.stringify(status.toStatus())
  const head = `HTTP/1.1 ${status.status} ${status.reason || 'Error'}\r\ncontent-type: application/json\r\nconnection: close\r\n`
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}
