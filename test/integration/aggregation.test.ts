import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https, { Agent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { CustomObjectsApi, KubeConfig } from '@kubernetes/client-node'
import { certificates } from '../sandbox/api/credentials.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import { startApiServiceController } from '../sandbox/controllers/apiservices.ts'
import { Cluster } from '../sandbox/controllers/cluster.ts'
import { startEndpointsController } from '../sandbox/controllers/endpoints.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void
const root = '/apis/external.metrics.k8s.io/v1beta1'
const apiServices = 'apiservices.apiregistration.k8s.io'
const apiServiceName = 'v1beta1.external.metrics.k8s.io'

let server: ApiServer
let cluster: Cluster
let agent: Agent
const backends: http.Server[] = []
beforeEach(async () => {
  server = await startApiServer()
  cluster = new Cluster(server.store)
  startEndpointsController(cluster)
  startApiServiceController(cluster, 30_000)
  agent = new Agent({ ca: server.caPem, keepAlive: true })
})
afterEach(async () => {
  agent.destroy()
  cluster.close()
  await server.close()
  for (const backend of backends.splice(0)) {
    backend.closeAllConnections()
    await new Promise(resolve => backend.close(resolve))
  }
})

async function call(path: string, options: { token?: string; method?: string; body?: string } = {}) {
  const { token = server.adminToken, method = 'GET', body } = options
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'x-own': 'yes' }
    https
      .request(server.url + path, { method, headers, agent }, resolve)
      .on('error', reject)
      .end(body)
  })
  const content = await text(response)
  const isJson = String(response.headers['content-type']).includes('json')
  const json = (isJson ? JSON.parse(content) : {}) as Record<string, unknown>
  return { status: response.statusCode, headers: response.headers, text: content, json }
}

async function listen(backend: http.Server): Promise<number> {
  backends.push(backend)
  await new Promise<void>(resolve => backend.listen(0, '127.0.0.1', resolve))
  return (backend.address() as AddressInfo).port
}

const documents: Handler = (request, response) =>
  void response
    .writeHead(200, { 'content-type': 'application/json', connection: 'keep-alive' })
    .end(JSON.stringify({ kind: 'Echo', method: request.method, url: request.url, headers: request.headers }))

/** An HTTPS server with a certificate for the Service `adapter`; `ca` is the base64 of its authority. */
async function startAdapter(handler: Handler = documents): Promise<{ port: number; ca: string }> {
  const { ca, cert, key } = await certificates('127.0.0.1', ['adapter.default.svc'])
  return { port: await listen(https.createServer({ cert, key }, handler)), ca: Buffer.from(ca).toString('base64') }
}

const service = (spec: object = { ports: [{ name: 'https', port: 443 }] }) =>
  server.store.create({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'adapter', namespace: 'default' } },
    spec,
  })
/** By hand, for a Service without selector. */
const slice = (port: number, ready = true, name = 'adapter-1') =>
  server.store.create({
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': 'adapter' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready } }],
    ports: [{ name: 'https', port }],
  })
const register = (tls: object = { insecureSkipTLSVerify: true }) =>
  server.store.create({
    ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name: apiServiceName } },
    spec: {
      ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', groupPriorityMinimum: 100, versionPriority: 100 },
      ...{ service: { namespace: 'default', name: 'adapter' }, ...tls },
    },
  })

/** Resolves to `STATUS REASON: MESSAGE` once it begins with that. */
async function available(start: string): Promise<string> {
  const now = () => {
    const { conditions = [] } = (server.store.peek(apiServices, undefined, apiServiceName)?.status ?? {}) as {
      conditions?: { type: string; status: string; reason: string; message: string }[]
    }
    const found = conditions.find(c => c.type === 'Available')
    return found ? `${found.status} ${found.reason}: ${found.message}` : ''
  }
  const deadline = Date.now() + 5000
  while (!now().startsWith(start) && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 10))
  expect(now()).toContain(start)
  return now()
}

describe('an APIService', () => {
  test('puts its group into the discovery and hands everything below the version to the Service', async () => {
    const adapter = await startAdapter()
    service()
    slice(adapter.port)
    register()
    await available('True Passed: all checks passed')
    const groups = (await call('/apis')).json as { groups?: { name: string }[] }
    expect(groups.groups?.map(g => g.name)).toContain('external.metrics.k8s.io')
    expect((await call('/apis/external.metrics.k8s.io')).json).toMatchObject({
      preferredVersion: { groupVersion: 'external.metrics.k8s.io/v1beta1' },
    })
    expect((await call(root)).json).toMatchObject({ kind: 'Echo', url: root })
    const path = `${root}/namespaces/default/queue?labelSelector=a%3Db`
    const { status, json } = await call(path)
    expect(status).toBe(200)
    expect(json).toMatchObject({
      ...{ method: 'GET', url: path },
      headers: { 'x-own': 'yes', 'x-remote-user': 'kubernetes-admin', host: `127.0.0.1:${adapter.port}` },
    })
    expect((json as { headers: object }).headers).not.toHaveProperty('authorization')
  })

  test('is reached over HTTP/2 too, by the stock client library', async () => {
    const adapter = await startAdapter()
    service()
    slice(adapter.port)
    register()
    await available('True')
    const config = new KubeConfig()
    config.loadFromString(server.kubeconfig())
    const answer = (await config.makeApiClient(CustomObjectsApi).listNamespacedCustomObject({
      ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', namespace: 'default', plural: 'queue' },
    })) as { url: string }
    expect(answer.url).toBe(`${root}/namespaces/default/queue`)
  })

  test('is asked only by those who may: the resource of the path in its namespace, discovery for everybody', async () => {
    const adapter = await startAdapter()
    service()
    slice(adapter.port)
    register()
    await available('True')
    const rules = [{ apiGroups: ['external.metrics.k8s.io'], resources: ['queue'], verbs: ['list'] }]
    const reader = server.tokens.add({ name: 'reader', rules: rules.map(r => ({ ...r, namespaces: ['default'] })) })
    const status = async (path: string) => (await call(root + path, { token: reader })).status
    expect(await status('')).toBe(200)
    expect(await status('/namespaces/default/queue')).toBe(200)
    expect(await status('/namespaces/default/queue/one')).toBe(403)
    expect(await status('/namespaces/default/queue?watch=true')).toBe(403)
    expect(await status('/namespaces/other/queue')).toBe(403)
    const refused = await call(`${root}/namespaces/default/wait`, { token: reader })
    expect(refused.json).toMatchObject({
      reason: 'Forbidden',
      message:
        'wait.external.metrics.k8s.io is forbidden: User "reader" cannot list resource "wait" in API group "external.metrics.k8s.io" in the namespace "default"',
    })
  })

  test('passes on what the server behind it answers, errors too', async () => {
    const adapter = await startAdapter((request, response) => {
      if (request.url === root) return void response.end('{}')
      response.writeHead(418, { 'content-type': 'text/plain' }).end('no coffee')
    })
    service()
    slice(adapter.port)
    register()
    await available('True')
    expect(await call(`${root}/x`)).toMatchObject({ status: 418, text: 'no coffee' })
  })

  test('is checked against its caBundle, which the discovery check does not do', async () => {
    const adapter = await startAdapter()
    const other = await certificates('127.0.0.1', ['adapter.default.svc'])
    service()
    slice(adapter.port)
    register({ caBundle: adapter.ca })
    await available('True Passed')
    expect((await call(`${root}/x`)).status).toBe(200)
    server.store.modify(apiServices, undefined, apiServiceName, draft => {
      Object.assign(draft.spec as object, { caBundle: Buffer.from(other.ca).toString('base64') })
    })
    expect(await call(`${root}/x`)).toMatchObject({
      status: 503,
      text: 'error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority\n',
    })
    await available('True Passed')
  })

  test('is unavailable, and says why, until its Service has an endpoint that answers', async () => {
    expect((await call(root)).status).toBe(404)
    register()
    expect(await available('False ServiceNotFound')).toContain('service/adapter in "default" is not present')
    expect(await call(root)).toMatchObject({ status: 503, text: 'service unavailable\n' })
    service({ ports: [{ name: 'https', port: 8443 }] })
    expect(await available('False ServicePortError')).toContain('not listening on port 443')
    server.store.modify('services', 'default', 'adapter', draft => {
      Object.assign(draft.spec as object, { ports: [{ name: 'https', port: 443 }] })
    })
    await available('False EndpointsNotFound')
    const adapter = await startAdapter()
    slice(adapter.port, false)
    expect(await available('False MissingEndpoints')).toContain('have no addresses with port name "https"')
    expect((await call(`${root}/x`)).status).toBe(503)
    slice(adapter.port, true, 'adapter-2')
    await available('True Passed')
    expect((await call(`${root}/x`)).status).toBe(200)
    server.store.delete(apiServices, undefined, apiServiceName)
    expect((await call(root)).status).toBe(404)
    expect(JSON.stringify((await call('/apis')).json)).not.toContain('external.metrics')
  })

  test('fails the discovery check while the server refuses it, and passes without any other change once it does not', async () => {
    let broken = true
    const adapter = await startAdapter((request, response) => {
      if (broken) response.writeHead(500).end()
      else documents(request, response)
    })
    service()
    slice(adapter.port)
    register()
    expect(await available('False FailedDiscoveryCheck')).toContain(`bad status from https://127.0.0.1:${adapter.port}`)
    broken = false
    await available('True Passed')
  })

  test('answers 503 when its server is gone but still listed', async () => {
    const adapter = await startAdapter()
    service()
    slice(adapter.port)
    register()
    await available('True')
    const [backend] = backends.splice(0)
    backend?.closeAllConnections()
    await new Promise(resolve => backend?.close(resolve))
    expect(await call(`${root}/x`)).toMatchObject({
      status: 503,
      text: `error trying to reach service: dial tcp 127.0.0.1:${adapter.port}: connect: connection refused\n`,
    })
  })

  test('follows the pods that its Service selects', async () => {
    const adapter = await startAdapter()
    service({ ports: [{ name: 'https', port: 443, targetPort: adapter.port }], selector: { app: 'adapter' } })
    register()
    await available('False MissingEndpoints')
    server.store.create({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', namespace: 'default', labels: { app: 'adapter' } } },
      spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'i:1' }] },
    })
    const ready = { podIP: '127.0.0.1', conditions: [{ type: 'Ready', status: 'True' }] }
    server.store.patchStatus('pods', 'default', 'a', ready)
    await available('True Passed')
    expect((await call(`${root}/x`)).status).toBe(200)
    server.store.patchStatus('pods', 'default', 'a', { conditions: [{ type: 'Ready', status: 'False' }] })
    await available('False MissingEndpoints')
  })

  test('must be named after its version and group, and cannot both skip and do the check of the certificate', () => {
    expect(() =>
      server.store.create({
        ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name: 'metrics' } },
        spec: { group: 'g.io', version: 'v1', groupPriorityMinimum: 1, versionPriority: 1 },
      }),
    ).toThrow('must be `spec.version+"."+spec.group`: "v1.g.io"')
    expect(() => register({ insecureSkipTLSVerify: true, caBundle: 'YQ==' })).toThrow('may not be true if caBundle')
    expect(() => register({ groupPriorityMinimum: 0 })).toThrow('spec.groupPriorityMinimum: Invalid value: 0')
    expect(register().spec).toMatchObject({ service: { port: 443 } })
  })
})

describe('pods/proxy', () => {
  const pods = '/api/v1/namespaces/default/pods'
  const pod = (status: object, ports: object[] = []) => {
    server.store.create({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', namespace: 'default' } },
      spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'i:1', ports }] },
    })
    server.store.patchStatus('pods', 'default', 'web', { ...status })
  }

  test('reaches the pod at its address by NAME:PORT, http:NAME:PORT, https:NAME:PORT and its first port', async () => {
    const port = await listen(http.createServer(documents))
    const adapter = await startAdapter()
    pod({ podIP: '127.0.0.1' }, [{ containerPort: port }])
    for (const name of [`web:${port}`, `http:web:${port}`, `https:web:${adapter.port}`, 'web', `web%3A${port}`]) {
      const { status, json } = await call(`${pods}/${name}/proxy/metrics/all?x=%2F1`)
      expect({ name, status }).toEqual({ name, status: 200 })
      expect(json).toMatchObject({ url: '/metrics/all?x=%2F1' })
    }
    expect(await call(`${pods}/web/proxy`)).toMatchObject({ status: 301, headers: { location: `${pods}/web/proxy/` } })
    expect((await call(`${pods}/web/proxy/`)).json).toMatchObject({ url: '/' })
  })

  test('needs the right to get pods/proxy, whatever comes behind it', async () => {
    const port = await listen(http.createServer(documents))
    pod({ podIP: '127.0.0.1' })
    const may = (resources: string[]) =>
      server.tokens.add({ name: 'scraper', rules: [{ apiGroups: [''], resources, verbs: ['get'] }] })
    const path = `${pods}/web:${port}/proxy/metrics`
    expect((await call(path, { token: may(['pods/proxy']) })).status).toBe(200)
    expect((await call(path, { token: may(['pods']) })).json).toMatchObject({
      code: 403,
      message: `pods "web:${port}" is forbidden: User "scraper" cannot get resource "pods/proxy" in API group "" in the namespace "default"`,
    })
    expect((await call(path, { method: 'POST', token: may(['pods/proxy']) })).status).toBe(403)
  })

  test('is a Status with 404 for no pod, 400 for no address or a strange name, 503 for a port nobody listens on', async () => {
    expect((await call(`${pods}/web:1/proxy/`)).json).toMatchObject({ code: 404, message: 'pods "web" not found' })
    pod({})
    expect((await call(`${pods}/web:1/proxy/`)).json).toMatchObject({ code: 400, message: 'address not allowed' })
    server.store.patchStatus('pods', 'default', 'web', { podIP: '127.0.0.1' })
    expect((await call(`${pods}/ftp:web:1/proxy/`)).json).toMatchObject({
      code: 400,
      message: 'invalid pod request "ftp:web:1"',
    })
    expect((await call(`${pods}/web:1/proxy/`)).json).toMatchObject({
      ...{ kind: 'Status', code: 503, reason: 'ServiceUnavailable' },
      message: 'error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused',
    })
  })

  test('is in the discovery', async () => {
    const { resources } = (await call('/api/v1')).json as { resources?: { name: string; verbs: string[] }[] }
    expect(resources?.find(r => r.name === 'pods/proxy')?.verbs).toContain('get')
  })
})
