import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { parse } from 'yaml'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { condition, withTimes } from './conditions.ts'
import type { GatewayConfig, PoolBackend } from './config.ts'
import { type GatewaySpec, proxyObjects, shadowService } from './generated.ts'
import { type ClusterClient, Informer, keyOf } from './informer.ts'
import { poolTarget, readyAddress, selects } from './pods.ts'

export const controllerName = 'istio.io/gateway-controller'
const className = 'istio'
const poolGroup = 'inference.networking.k8s.io'
const gatewayGroup = 'gateway.networking.k8s.io'
const settleMs = 10
const retryMs = 500

interface BackendRef {
  group?: string
  kind?: string
  name: string
}
interface RouteSpec {
  parentRefs?: { group?: string; kind?: string; name: string; namespace?: string }[]
  rules?: {
    matches?: { path?: { type?: string; value?: string } }[]
    filters?: { type: string; urlRewrite?: { path?: { replacePrefixMatch?: string } } }[]
    backendRefs?: BackendRef[]
  }[]
}

export interface GatewayController {
  /** Resolves once everything that was there at the start has been answered. */
  readonly settled: Promise<void>
  close(): Promise<void>
}

/**
 * Plays istiod for Gateways of class `istio`: generates the proxy of every Gateway and the shadow Service of every
 * pool that a route uses, writes the conditions that istiod writes, and tells the proxies where to send what. It knows
 * nothing but the Kubernetes API.
 */
export async function startGatewayController(
  client: ClusterClient,
  now: () => string = () => new Date().toISOString(),
): Promise<GatewayController> {
  const controller = new Controller(client, now)
  await controller.listen()
  return controller
}

class Controller implements GatewayController {
  readonly settled: Promise<void>
  readonly #client: ClusterClient
  readonly #now: () => string
  readonly #ending = new AbortController()
  readonly #informers: Record<
    'classes' | 'gateways' | 'routes' | 'pools' | 'pods' | 'services' | 'configMaps',
    Informer
  >
  readonly #applied = new Map<string, string>()
  readonly #proxies = new Map<http.ServerResponse, string>()
  readonly #server: http.Server
  #discoveryUrl = ''
  #settle: () => void = () => undefined
  #timer: NodeJS.Timeout | undefined
  #busy = false
  #again = false

  constructor(client: ClusterClient, now: () => string) {
    this.#client = client
    this.#now = now
    this.settled = new Promise(resolve => {
      this.#settle = resolve
    })
    const informer = (path: string) => new Informer(client, path, () => this.#soon(settleMs))
    this.#informers = {
      classes: informer(`/apis/${gatewayGroup}/v1/gatewayclasses`),
      gateways: informer(`/apis/${gatewayGroup}/v1/gateways`),
      routes: informer(`/apis/${gatewayGroup}/v1/httproutes`),
      pools: informer(`/apis/${poolGroup}/v1/inferencepools`),
      pods: informer('/api/v1/pods'),
      services: informer('/api/v1/services'),
      configMaps: informer('/api/v1/configmaps'),
    }
    this.#server = http.createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      response.flushHeaders()
      this.#proxies.set(response, '')
      response.on('close', () => this.#proxies.delete(response))
      this.#tell(response)
    })
  }

  async listen(): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve))
    this.#discoveryUrl = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    for (const informer of Object.values(this.#informers)) void informer.run(this.#ending.signal)
  }

  async close(): Promise<void> {
    this.#ending.abort()
    clearTimeout(this.#timer)
    await new Promise<void>(resolve => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  /** Many changes at once are one pass. */
  #soon(ms: number): void {
    this.#again = true
    if (this.#busy || this.#ending.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#pass(), ms)
  }

  async #pass(): Promise<void> {
    if (!Object.values(this.#informers).every(informer => informer.synced)) return
    this.#busy = true
    this.#again = false
    const retry = !(await this.#reconcile())
    if (!retry) this.#settle()
    this.#busy = false
    for (const response of this.#proxies.keys()) this.#tell(response)
    if (retry || this.#again) this.#soon(retry ? retryMs : settleMs)
  }

  /** False when something could not be written: a conflict, or an object that went away; the next pass sees what is true then. */
  async #reconcile(): Promise<boolean> {
    const { classes, gateways, routes, pools } = this.#informers
    let complete = true
    const attempt = (work: Promise<void>) =>
      work.catch(() => {
        complete = false
      })
    await attempt(this.#class(classes.items.get(`/${className}`)))
    for (const gateway of alive(gateways))
      if ((gateway.spec as GatewaySpec).gatewayClassName === className) await attempt(this.#gateway(gateway))
    const used = new Map<string, KubeObject[]>()
    for (const route of alive(routes)) {
      const parents = this.#parentsOf(route)
      if (parents.length === 0) continue
      await attempt(this.#route(route, parents))
      for (const ref of backendsOf(route)) used.set(`${route.metadata.namespace}/${ref.name}`, parents)
    }
    for (const pool of alive(pools)) {
      const parents = used.get(keyOf(pool))
      if (parents !== undefined) await attempt(this.#pool(pool, parents))
    }
    return complete
  }

  async #class(found: KubeObject | undefined): Promise<void> {
    const wanted = {
      apiVersion: `${gatewayGroup}/v1`,
      kind: 'GatewayClass',
      metadata: { name: className },
      spec: { controllerName },
    }
    const live = found ?? (await this.#apply(wanted, undefined))
    if (live === undefined) return
    await this.#status(live, {
      conditions: [condition(live, 'Accepted', true, 'Accepted', 'Handled by Istio controller')],
    })
  }

  async #gateway(gateway: KubeObject): Promise<void> {
    const spec = gateway.spec as GatewaySpec
    const { namespace, name } = gateway.metadata
    const overlays = this.#overlays(gateway)
    if (typeof overlays === 'string') {
      const conditions = [
        condition(gateway, 'Accepted', false, 'InvalidParameters', overlays),
        condition(gateway, 'Programmed', false, 'Invalid', 'Failed to assign to any requested addresses'),
      ]
      return this.#status(gateway, { conditions })
    }
    let service: KubeObject | undefined
    for (const wanted of proxyObjects(gateway, overlays, this.#discoveryUrl)) {
      const live = wanted.kind === 'Service' ? this.#informers.services.items.get(keyOf(wanted)) : undefined
      const written = await this.#apply(wanted, live, wanted.kind === 'Service' && live === undefined)
      if (wanted.kind === 'Service') service = live ?? written
    }
    const addresses = addressesOf(service)
    const port = spec.listeners?.[0]?.port ?? 80
    const programmed =
      addresses.length > 0
        ? condition(
            gateway,
            'Programmed',
            true,
            'Programmed',
            `Resource programmed, assigned to service(s) ${name}-istio.${namespace}.svc.cluster.local:${port}`,
          )
        : condition(
            gateway,
            'Programmed',
            false,
            'AddressNotAssigned',
            `Assigned to service(s) ${name}-istio.${namespace}.svc.cluster.local:${port}, but failed to assign to all requested addresses: address pending`,
          )
    const attached = alive(this.#informers.routes).filter(route =>
      this.#parentsOf(route).some(parent => keyOf(parent) === keyOf(gateway)),
    ).length
    const listeners = (spec.listeners ?? []).map(listener => ({
      name: listener.name,
      attachedRoutes: attached,
      supportedKinds: [
        { group: gatewayGroup, kind: 'HTTPRoute' },
        { group: gatewayGroup, kind: 'GRPCRoute' },
      ],
      conditions: [
        condition(gateway, 'Accepted', true, 'Accepted', 'No errors found'),
        condition(gateway, 'Conflicted', false, 'NoConflicts', 'No errors found'),
        condition(gateway, 'Programmed', true, 'Programmed', 'No errors found'),
        condition(gateway, 'ResolvedRefs', true, 'ResolvedRefs', 'No errors found'),
      ],
    }))
    const accepted = condition(gateway, 'Accepted', true, 'Accepted', 'Resource accepted')
    await this.#status(gateway, {
      ...(addresses.length > 0 ? { addresses } : {}),
      conditions: [accepted, programmed],
      listeners,
    })
  }

  /** What the Gateway's ConfigMap overlays, or why it cannot be read. */
  #overlays(gateway: KubeObject): { deployment?: unknown; service?: unknown } | string {
    const ref = (gateway.spec as GatewaySpec).infrastructure?.parametersRef
    if (ref === undefined) return {}
    const data = this.#informers.configMaps.items.get(`${gateway.metadata.namespace}/${ref.name}`)?.data as
      | Record<string, string>
      | undefined
    if (data === undefined) return `failed to load parametersRef: configmap "${ref.name}" not found`
    try {
      return {
        ...(data.deployment ? { deployment: parse(data.deployment) } : {}),
        ...(data.service ? { service: parse(data.service) } : {}),
      }
    } catch (error) {
      return `failed to parse parametersRef ${ref.name}: ${(error as Error).message}`
    }
  }

  async #route(route: KubeObject, parents: readonly KubeObject[]): Promise<void> {
    const missing = backendsOf(route).find(ref => this.#pools(route, ref) === undefined)
    const resolved =
      missing === undefined
        ? condition(route, 'ResolvedRefs', true, 'ResolvedRefs', 'All references resolved')
        : condition(route, 'ResolvedRefs', false, 'BackendNotFound', `backend(${missing.name}) not found`)
    const refs = ((route.spec as RouteSpec).parentRefs ?? []).filter(ref =>
      parents.some(parent => parent.metadata.name === ref.name),
    )
    const accepted = condition(route, 'Accepted', true, 'Accepted', 'Route was valid')
    await this.#status(route, {
      parents: refs.map(parentRef => ({ parentRef, controllerName, conditions: [accepted, resolved] })),
    })
  }

  async #pool(pool: KubeObject, parents: readonly KubeObject[]): Promise<void> {
    const shadow = shadowService(pool)
    await this.#apply(shadow, this.#informers.services.items.get(keyOf(shadow)), true)
    const name = (pool.spec as { endpointPickerRef?: { name: string } }).endpointPickerRef?.name
    const known = name !== undefined && this.#informers.services.items.has(`${pool.metadata.namespace}/${name}`)
    const conditions = [
      condition(pool, 'Accepted', true, 'Accepted', 'Referenced by an HTTPRoute accepted by the parentRef Gateway'),
      known
        ? condition(pool, 'ResolvedRefs', true, 'ResolvedRefs', 'Referenced ExtensionRef resolved successfully')
        : condition(pool, 'ResolvedRefs', false, 'InvalidExtensionRef', `Referenced ExtensionRef not found: ${name}`),
    ]
    const ref = (parent: KubeObject) => ({
      group: gatewayGroup,
      kind: 'Gateway',
      name: parent.metadata.name,
      namespace: parent.metadata.namespace,
    })
    await this.#status(pool, {
      parents: parents.map(parent => ({ parentRef: ref(parent), controllerName, conditions })),
    })
  }

  /** Writes an object when it differs from what was last written, or has gone (`gone`: the caller can tell). */
  async #apply(wanted: KubeObject, live: KubeObject | undefined, gone = false): Promise<KubeObject | undefined> {
    const key = `${wanted.kind} ${keyOf(wanted)}`
    const text = JSON.stringify(wanted)
    if (this.#applied.get(key) === text && !(gone && live === undefined)) return live
    const written = await this.#client.apply(wanted, { fieldManager: controllerName, force: true })
    this.#applied.set(key, text)
    return written
  }

  async #status(object: KubeObject, wanted: Record<string, unknown>): Promise<void> {
    const status = withTimes(object.status, wanted, this.#now())
    if (status === undefined) return
    const { apiVersion, kind, metadata } = object
    const target = {
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    }
    await this.#client.apply(
      { apiVersion, kind, metadata: target, status },
      { fieldManager: controllerName, force: true, subresource: 'status' },
    )
  }

  #parentsOf(route: KubeObject): KubeObject[] {
    return ((route.spec as RouteSpec).parentRefs ?? []).flatMap(ref => {
      const gateway = this.#informers.gateways.items.get(`${ref.namespace ?? route.metadata.namespace}/${ref.name}`)
      return gateway !== undefined && (gateway.spec as GatewaySpec).gatewayClassName === className ? [gateway] : []
    })
  }

  #pools(route: KubeObject, ref: BackendRef): KubeObject | undefined {
    return ref.kind === 'InferencePool' && ref.group === poolGroup
      ? this.#informers.pools.items.get(`${route.metadata.namespace}/${ref.name}`)
      : undefined
  }

  /** Sends a proxy its configuration when it changed since it was told. */
  #tell(response: http.ServerResponse): void {
    const key = response.req.url!.slice(1)
    const text = JSON.stringify(this.#config(key))
    if (this.#proxies.get(response) === text || !this.#informers.gateways.items.has(key)) return
    this.#proxies.set(response, text)
    response.write(`${text}\n`)
  }

  #config(gatewayKey: string): GatewayConfig {
    const routes = alive(this.#informers.routes).filter(route =>
      this.#parentsOf(route).some(parent => keyOf(parent) === gatewayKey),
    )
    return {
      rules: routes.flatMap(route =>
        ((route.spec as RouteSpec).rules ?? []).flatMap(rule => {
          const ref = rule.backendRefs?.[0]
          const pool = ref && this.#pools(route, ref)
          const rewrite = rule.filters?.find(filter => filter.type === 'URLRewrite')?.urlRewrite?.path
            ?.replacePrefixMatch
          const common = {
            ...(rewrite === undefined ? {} : { rewrite }),
            ...(pool === undefined ? {} : { backend: this.#backend(pool) }),
          }
          const prefixes = rule.matches?.map(match => match.path?.value) ?? [undefined]
          return prefixes.map(prefix => ({ ...(prefix === undefined ? {} : { prefix }), ...common }))
        }),
      ),
    }
  }

  #backend(pool: KubeObject): PoolBackend {
    const { namespace } = pool.metadata
    const { matchLabels, port } = poolTarget(pool)
    const ref = (pool.spec as { endpointPickerRef?: { name: string; port?: { number: number } } }).endpointPickerRef
    const service = ref && this.#informers.services.items.get(`${namespace}/${ref.name}`)
    const pickers = this.#ready(
      namespace,
      (service?.spec as { selector?: Record<string, string> } | undefined)?.selector,
    )
    return {
      pool: keyOf(pool),
      ready: this.#ready(namespace, matchLabels).map(address => `${address}:${port}`),
      ...(pickers[0] === undefined ? {} : { picker: `${pickers[0]}:${ref?.port?.number ?? 9002}` }),
    }
  }

  #ready(namespace: string | undefined, matchLabels: Record<string, string> | undefined): string[] {
    const inside = [...this.#informers.pods.items.values()].filter(
      pod => pod.metadata.namespace === namespace && selects(matchLabels, pod),
    )
    return inside.flatMap(pod => readyAddress(pod) ?? []).sort()
  }
}

const alive = (informer: Informer): KubeObject[] =>
  [...informer.items.values()].filter(object => object.metadata.deletionTimestamp === undefined)

const backendsOf = (route: KubeObject): BackendRef[] =>
  ((route.spec as RouteSpec).rules ?? []).flatMap(rule => rule.backendRefs ?? [])

/** A LoadBalancer has the addresses that its provider gave it; any other type is known by its name in the cluster. */
function addressesOf(service: KubeObject | undefined): { type: string; value: string }[] {
  if (service === undefined) return []
  const type = (service.spec as { type?: string } | undefined)?.type
  if (type !== 'LoadBalancer')
    return [{ type: 'Hostname', value: `${service.metadata.name}.${service.metadata.namespace}.svc.cluster.local` }]
  const ingress =
    (service.status as { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } } | undefined)?.loadBalancer
      ?.ingress ?? []
  return ingress.flatMap(({ ip, hostname }) =>
    ip !== undefined
      ? [{ type: 'IPAddress', value: ip }]
      : hostname !== undefined
        ? [{ type: 'Hostname', value: hostname }]
        : [],
  )
}
