import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { condition, withTimes } from '../../sandbox/gateway/conditions.ts'
import { type GatewayController, startGatewayController } from '../../sandbox/gateway/controller.ts'
import { overlay } from '../../sandbox/gateway/generated.ts'
import type { ApplyOptions, ClusterClient, WatchEvent } from '../../sandbox/gateway/informer.ts'
import { controllerName } from '../../sandbox/gateway/status.ts'
import { Programs } from './programs.ts'

const paths: Record<string, string> = {
  GatewayClass: '/apis/gateway.networking.k8s.io/v1/gatewayclasses',
  Gateway: '/apis/gateway.networking.k8s.io/v1/gateways',
  HTTPRoute: '/apis/gateway.networking.k8s.io/v1/httproutes',
  InferencePool: '/apis/inference.networking.k8s.io/v1/inferencepools',
  Pod: '/api/v1/pods',
  Service: '/api/v1/services',
  ConfigMap: '/api/v1/configmaps',
}

/** A cluster that keeps objects and tells watchers; apply replaces the spec or the status. */
class FakeCluster implements ClusterClient {
  readonly objects = new Map<string, KubeObject>()
  readonly applied: { object: KubeObject; options: ApplyOptions }[] = []
  missing = new Set<string>()
  /** Kinds that cannot be written. */
  refused = new Set<string>()
  readonly #watchers = new Map<string, Set<(event: WatchEvent) => void>>()
  #uid = 0

  key = (object: KubeObject): string => `${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`

  async list(path: string) {
    const kind = Object.keys(paths).find(name => paths[name] === path)!
    if (this.missing.has(kind)) throw Object.assign(new Error('404'), { status: 404 })
    return {
      metadata: { resourceVersion: '1' },
      items: [...this.objects.values()].filter(object => object.kind === kind),
    }
  }
  watch(path: string, _query: unknown, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
    const all = this.#watchers.get(path) ?? new Set()
    this.#watchers.set(path, all.add(onEvent))
    return new Promise(resolve => signal.addEventListener('abort', () => resolve()))
  }
  async apply(object: KubeObject, options: ApplyOptions): Promise<KubeObject> {
    if (this.refused.has(object.kind)) throw new Error('409')
    this.applied.push({ object, options })
    const before = this.objects.get(this.key(object))
    return this.put(options.subresource === 'status' ? { ...before!, status: object.status } : { ...before, ...object })
  }

  put(object: KubeObject): KubeObject {
    const before = this.objects.get(this.key(object))
    const metadata = { generation: 1, ...object.metadata, uid: before?.metadata.uid ?? `uid-${++this.#uid}` }
    const live = { ...object, metadata }
    this.objects.set(this.key(object), live)
    for (const tell of this.#watchers.get(paths[object.kind] ?? '') ?? [])
      tell({ type: before ? 'MODIFIED' : 'ADDED', object: live })
    return live
  }
  remove(kind: string, name: string): void {
    const object = this.get(kind, name)!
    this.objects.delete(this.key(object))
    for (const tell of this.#watchers.get(paths[kind]!) ?? []) tell({ type: 'DELETED', object })
  }
  get = (kind: string, name: string): KubeObject | undefined =>
    this.objects.get(`${kind} ${kind === 'GatewayClass' ? '' : 'ns'}/${name}`)
  conditions(kind: string, name: string): Record<string, string> {
    const status = this.get(kind, name)?.status as
      | {
          conditions?: { type: string; status: string; reason: string }[]
          parents?: { conditions: { type: string; status: string; reason: string }[] }[]
        }
      | undefined
    return Object.fromEntries(
      (status?.conditions ?? status?.parents?.[0]?.conditions ?? []).map(c => [c.type, `${c.status} ${c.reason}`]),
    )
  }
}

const meta = (name: string, more: Record<string, unknown> = {}) => ({ name, namespace: 'ns', ...more })
const gateway = (infrastructure: Record<string, unknown> = {}): KubeObject => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: meta('gw', { labels: { 'stood-up-via': 'modelservice' } }),
  spec: { gatewayClassName: 'istio', listeners: [{ name: 'default', port: 80, protocol: 'HTTP' }], infrastructure },
})
const configMap = (data: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: meta('overlay'),
  data,
})
const overlaid = (type: string) =>
  configMap({
    service: `spec:\n  type: ${type}\n`,
    deployment: 'spec: {template: {spec: {containers: [{name: istio-proxy, args: [proxy, router, --quiet]}]}}}',
  })
const parametersRef = { group: '', kind: 'ConfigMap', name: 'overlay' }
const backendRefs = [{ group: 'inference.networking.k8s.io', kind: 'InferencePool', name: 'pool', port: 8000 }]
const route: KubeObject = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: meta('route', { generation: 3 }),
  spec: {
    parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'gw' }],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: '/label/' } }],
        filters: [
          { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } },
        ],
        backendRefs,
      },
      { backendRefs },
    ],
  },
}
const pool = (port = 8000, picker = 9002): KubeObject => ({
  apiVersion: 'inference.networking.k8s.io/v1',
  kind: 'InferencePool',
  metadata: meta('pool'),
  spec: {
    selector: { matchLabels: { model: 'm' } },
    targetPorts: [{ number: port }],
    endpointPickerRef: { name: 'pool-epp', port: { number: picker } },
  },
})
const pickerService: KubeObject = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: meta('pool-epp'),
  spec: { selector: { app: 'epp' } },
}
const pod = (name: string, labels: Record<string, string>, ready = true): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: meta(name, { labels }),
  status: { podIP: '127.0.0.1', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
})

const controllers: GatewayController[] = []
afterEach(async () => {
  for (const controller of controllers.splice(0)) await controller.close()
})
async function control(cluster: FakeCluster): Promise<GatewayController> {
  const controller = await startGatewayController(cluster)
  controllers.push(controller)
  await controller.settled
  return controller
}
async function eventually(check: () => void | Promise<void>): Promise<void> {
  for (const end = Date.now() + 5_000; ; await new Promise(resolve => setTimeout(resolve, 10))) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > end) throw error
    }
  }
}

describe('the gateway controller', () => {
  test('the class is made and accepted, also where it is the only thing there is', async () => {
    const cluster = new FakeCluster()
    cluster.missing = new Set(['InferencePool'])
    await control(cluster)
    expect(cluster.get('GatewayClass', 'istio')?.spec).toEqual({ controllerName })
    expect(cluster.conditions('GatewayClass', 'istio')).toEqual({ Accepted: 'True Accepted' })
  })

  test('a cluster that knows none of its kinds leaves it nothing to do', async () => {
    const cluster = new FakeCluster()
    cluster.missing = new Set(['GatewayClass', 'Gateway', 'HTTPRoute', 'InferencePool'])
    await control(cluster)
    expect(cluster.applied).toEqual([])
  })

  test('a Gateway gets its proxy, with the overlay of its ConfigMap, its labels and its owner', async () => {
    const cluster = new FakeCluster()
    cluster.put(overlaid('NodePort'))
    const { metadata } = cluster.put(gateway({ parametersRef, labels: { stack: 's' } }))
    await control(cluster)
    const deployment = cluster.get('Deployment', 'gw-istio')!
    const template = (
      deployment.spec as {
        template: {
          metadata: { labels: object }
          spec: { containers: { image: string; args: string[]; env: { name: string }[] }[] }
        }
      }
    ).template
    expect(template.spec.containers).toHaveLength(1)
    expect(template.spec.containers[0]).toMatchObject({
      image: 'docker.io/istio/proxyv2:1.28.1',
      args: ['proxy', 'router', '--quiet'],
    })
    expect(template.metadata.labels).toMatchObject({ stack: 's', 'gateway.networking.k8s.io/gateway-name': 'gw' })
    expect(template.metadata.labels).not.toHaveProperty('stood-up-via')
    for (const kind of ['ServiceAccount', 'Deployment', 'Service']) {
      expect(cluster.get(kind, 'gw-istio')!.metadata.ownerReferences).toEqual([
        {
          apiVersion: 'gateway.networking.k8s.io/v1',
          kind: 'Gateway',
          name: 'gw',
          uid: metadata.uid,
          controller: true,
        },
      ])
    }
    expect(cluster.get('Service', 'gw-istio')!.spec).toMatchObject({
      type: 'NodePort',
      ports: [{ port: 15021 }, { name: 'default', port: 80 }],
    })
    expect(cluster.conditions('Gateway', 'gw')).toEqual({ Accepted: 'True Accepted', Programmed: 'True Programmed' })
    const status = cluster.get('Gateway', 'gw')!.status as {
      addresses: unknown
      conditions: { observedGeneration: number }[]
    }
    expect(status.addresses).toEqual([{ type: 'Hostname', value: 'gw-istio.ns.svc.cluster.local' }])
    expect(status.conditions.map(c => c.observedGeneration)).toEqual([1, 1])
  })

  test("without infrastructure labels the Gateway's own are copied", async () => {
    const cluster = new FakeCluster()
    const own = gateway()
    cluster.put({ ...own, spec: { ...(own.spec as object), infrastructure: undefined } })
    await control(cluster)
    expect(cluster.get('Deployment', 'gw-istio')!.metadata.labels).toMatchObject({ 'stood-up-via': 'modelservice' })
  })

  test('a load balancer is programmed when its provider has given it an address', async () => {
    const cluster = new FakeCluster()
    cluster.put(overlaid('LoadBalancer'))
    cluster.put(gateway({ parametersRef }))
    await control(cluster)
    expect(cluster.conditions('Gateway', 'gw').Programmed).toBe('False AddressNotAssigned')
    expect(cluster.get('Gateway', 'gw')!.status).not.toHaveProperty('addresses')
    cluster.put({
      ...cluster.get('Service', 'gw-istio')!,
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.7' }] } },
    })
    await eventually(() => expect(cluster.conditions('Gateway', 'gw').Programmed).toBe('True Programmed'))
    expect((cluster.get('Gateway', 'gw')!.status as { addresses: unknown }).addresses).toEqual([
      { type: 'IPAddress', value: '192.0.2.7' },
    ])
  })

  test('a Gateway whose ConfigMap is missing gets nothing until it appears', async () => {
    const cluster = new FakeCluster()
    cluster.put(gateway({ parametersRef }))
    await control(cluster)
    expect(cluster.get('Deployment', 'gw-istio')).toBeUndefined()
    expect(cluster.conditions('Gateway', 'gw')).toEqual({
      Accepted: 'False InvalidParameters',
      Programmed: 'False Invalid',
    })
    cluster.put(overlaid('ClusterIP'))
    await eventually(() => expect(cluster.conditions('Gateway', 'gw').Programmed).toBe('True Programmed'))
  })

  test('a Gateway of another class is left alone', async () => {
    const cluster = new FakeCluster()
    const other = gateway()
    cluster.put({ ...other, spec: { ...(other.spec as object), gatewayClassName: 'kgateway' } })
    cluster.put(route)
    await control(cluster)
    expect(cluster.get('Gateway', 'gw')!.status).toBeUndefined()
    expect(cluster.get('HTTPRoute', 'route')!.status).toBeUndefined()
  })

  test('a route without its pool is accepted and not resolved, and resolves when the pool comes', async () => {
    const cluster = new FakeCluster()
    cluster.put(gateway())
    cluster.put(route)
    await control(cluster)
    expect(cluster.conditions('HTTPRoute', 'route')).toEqual({
      Accepted: 'True Accepted',
      ResolvedRefs: 'False BackendNotFound',
    })
    const parents = (
      cluster.get('HTTPRoute', 'route')!.status as {
        parents: { controllerName: string; conditions: { observedGeneration: number }[] }[]
      }
    ).parents
    expect(parents).toMatchObject([{ controllerName: 'istio.io/gateway-controller', parentRef: { name: 'gw' } }])
    expect(parents[0]!.conditions.map(c => c.observedGeneration)).toEqual([3, 3])
    cluster.put(pool())
    await eventually(() => expect(cluster.conditions('HTTPRoute', 'route').ResolvedRefs).toBe('True ResolvedRefs'))
  })

  test('a pool has parents only through a route, its shadow Service, and a resolved picker once that exists', async () => {
    const cluster = new FakeCluster()
    cluster.put(gateway())
    cluster.put(pool())
    await control(cluster)
    expect(cluster.get('InferencePool', 'pool')!.status).toBeUndefined()
    cluster.put(route)
    await eventually(() =>
      expect(cluster.conditions('InferencePool', 'pool')).toEqual({
        Accepted: 'True Accepted',
        ResolvedRefs: 'False InvalidExtensionRef',
      }),
    )
    cluster.put(pickerService)
    await eventually(() => expect(cluster.conditions('InferencePool', 'pool').ResolvedRefs).toBe('True ResolvedRefs'))
    const shadow = cluster.get('Service', `pool-ip-${createHash('sha256').update('pool').digest('hex').slice(0, 8)}`)!
    expect(shadow.metadata).toMatchObject({
      labels: { 'istio.io/inferencepool-name': 'pool' },
      ownerReferences: [{ kind: 'InferencePool', name: 'pool' }],
    })
    expect(shadow.spec).toEqual({
      clusterIP: 'None',
      selector: { model: 'm' },
      ports: [{ name: 'http-0', port: 54321, protocol: 'TCP', targetPort: 8000 }],
    })
  })

  test('once everything is answered nothing is written again', async () => {
    const cluster = new FakeCluster()
    for (const object of [overlaid('NodePort'), gateway({ parametersRef }), route, pool(), pickerService])
      cluster.put(object)
    await control(cluster)
    await new Promise(resolve => setTimeout(resolve, 100))
    const before = cluster.applied.length
    expect(
      cluster.applied.every(({ options }) => options.fieldManager === controllerName && options.force === true),
    ).toBe(true)
    cluster.put(pod('a', { model: 'm' }))
    cluster.put({ ...overlaid('NodePort') })
    await new Promise(resolve => setTimeout(resolve, 100))
    expect(cluster.applied.slice(before).map(({ object }) => object.kind)).toEqual([])
  })

  test('what cannot be written now is written later, and does not hold up the rest', async () => {
    const cluster = new FakeCluster()
    cluster.refused.add('Deployment')
    for (const object of [gateway(), route, pool(), pickerService]) cluster.put(object)
    const controller = await startGatewayController(cluster)
    controllers.push(controller)
    await eventually(() => expect(cluster.conditions('HTTPRoute', 'route').ResolvedRefs).toBe('True ResolvedRefs'))
    expect(cluster.conditions('Gateway', 'gw')).toEqual({})
    cluster.refused.clear()
    await eventually(() =>
      expect(cluster.conditions('Gateway', 'gw')).toEqual({
        Accepted: 'True Accepted',
        Programmed: 'False AddressNotAssigned',
      }),
    )
    expect(cluster.get('Deployment', 'gw-istio')).toBeDefined()
  })
})

describe('overlays and conditions', () => {
  test('lists of named things merge by name, other lists are replaced, null removes', () => {
    const base = { a: 1, b: [1, 2], list: [{ name: 'x', keep: 1, args: ['old'] }], gone: 1 }
    expect(overlay(base, { b: [3], list: [{ name: 'x', args: ['new'] }, { name: 'y' }], gone: null })).toEqual({
      a: 1,
      b: [3],
      list: [{ name: 'x', keep: 1, args: ['new'] }, { name: 'y' }],
    })
  })
  test('a condition keeps its time while its status stays the same', () => {
    const about = gateway()
    const first = withTimes(undefined, { conditions: [condition(about, 'Accepted', true, 'A', 'm')] }, 't1')
    expect(first).toMatchObject({ conditions: [{ lastTransitionTime: 't1' }] })
    expect(withTimes(first, { conditions: [condition(about, 'Accepted', true, 'A', 'm')] }, 't2')).toBeUndefined()
    expect(withTimes(first, { conditions: [condition(about, 'Accepted', true, 'B', 'm')] }, 't2')).toMatchObject({
      conditions: [{ reason: 'B', lastTransitionTime: 't1' }],
    })
    expect(withTimes(first, { conditions: [condition(about, 'Accepted', false, 'B', 'm')] }, 't2')).toMatchObject({
      conditions: [{ lastTransitionTime: 't2' }],
    })
  })
})

describe('the proxy of a gateway', () => {
  let programs: Programs
  let backend: http.Server
  let picker: http.Server
  let answer: { status: number; body: string }
  const port = (server: http.Server) => (server.address() as AddressInfo).port
  const listen = (server: http.Server) => new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()))

  beforeAll(async () => {
    programs = await Programs.create()
    backend = http.createServer((request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(`first ${request.method} ${request.url}\n`)
      if (request.url === '/stream') setTimeout(() => response.end('second\n'), 400)
      else response.end()
    })
    picker = http.createServer((_request, response) => response.writeHead(answer.status).end(answer.body))
    await Promise.all([listen(backend), listen(picker)])
    answer = { status: 200, body: `127.0.0.1:${port(backend)}` }
  })
  afterAll(async () => {
    await programs.close()
    for (const server of [backend, picker]) {
      server.closeAllConnections()
      server.close()
    }
  })

  /** The proxy, started as the Deployment says, of a cluster with these objects besides Gateway and route. */
  async function proxy(cluster: FakeCluster): Promise<{ traffic: string; status: string }> {
    cluster.put(gateway())
    cluster.put(route)
    await control(cluster)
    const { env } = (
      cluster.get('Deployment', 'gw-istio')!.spec as {
        template: { spec: { containers: { env: { name: string; value: string }[] }[] } }
      }
    ).template.spec.containers[0]!
    const discovery = env.find(e => e.name === 'DISCOVERY_URL')!.value
    const { match } = await programs.serve('istio-proxy', ['proxy', 'router'], /traffic (\d+), status (\d+)/, {
      SANDBOX_POD_IP: '127.0.0.1',
      GATEWAY_PORT: '0',
      STATUS_PORT: '0',
      DISCOVERY_URL: discovery,
    })
    const status = `http://127.0.0.1:${match[2]}/healthz/ready`
    await eventually(async () => expect((await fetch(status)).status).toBe(200))
    return { traffic: `http://127.0.0.1:${match[1]}`, status }
  }
  const ask = async (url: string) => {
    const response = await fetch(url)
    return { status: response.status, body: await response.text() }
  }

  test('it follows the cluster: no pool 500, nobody ready 503, then rewritten to a replica, and 500 again without a picker', async () => {
    const cluster = new FakeCluster()
    const { traffic } = await proxy(cluster)
    expect(await ask(`${traffic}/v1/models`)).toEqual({ status: 500, body: '' })
    cluster.put(pool(port(backend), port(picker)))
    cluster.put(pickerService)
    cluster.put(pod('epp', { app: 'epp' }))
    cluster.put(pod('decode', { model: 'm' }, false))
    await eventually(async () =>
      expect(await ask(`${traffic}/v1/models`)).toEqual({ status: 503, body: 'no healthy upstream' }),
    )
    cluster.put(pod('decode', { model: 'm' }))
    await eventually(async () =>
      expect(await ask(`${traffic}/v1/models`)).toEqual({ status: 200, body: 'first GET /v1/models\n' }),
    )
    expect(await ask(`${traffic}/label/v1/models?a=b`)).toEqual({ status: 200, body: 'first GET /v1/models?a=b\n' })
    expect(await ask(`${traffic}/labelled/v1`)).toEqual({ status: 200, body: 'first GET /labelled/v1\n' })

    answer = { status: 503, body: 'failed to find candidate pods' }
    expect(await ask(`${traffic}/v1/models`)).toEqual({ status: 503, body: 'no healthy upstream' })
    answer = { status: 200, body: `127.0.0.1:${port(backend)}` }
    cluster.remove('Pod', 'epp')
    await eventually(async () => expect(await ask(`${traffic}/v1/models`)).toEqual({ status: 500, body: '' }))
  })

  test('a stream is passed on as it comes', async () => {
    const cluster = new FakeCluster()
    for (const object of [
      pool(port(backend), port(picker)),
      pickerService,
      pod('epp', { app: 'epp' }),
      pod('decode', { model: 'm' }),
    ])
      cluster.put(object)
    const { traffic } = await proxy(cluster)
    const response = await fetch(`${traffic}/stream`)
    const arrived: number[] = []
    for await (const _part of response.body!) arrived.push(performance.now())
    expect(arrived.length).toBeGreaterThanOrEqual(2)
    expect(arrived.at(-1)! - arrived[0]!).toBeGreaterThan(200)
  })
})
