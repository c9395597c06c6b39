import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { parse } from 'yaml'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { withTimes } from './conditions.ts'
import { type GatewaySpec, proxyObjects, shadowService } from './generated.ts'
import { type ClusterClient, Informer, keyOf } from './informer.ts'
import {
  classStatus,
  controllerName,
  gatewayGroup,
  gatewayStatus,
  invalidGatewayStatus,
  poolStatus,
  routeStatus,
} from './status.ts'
import { alive, backendsOf, className, gatewayConfig, isOurs, parentsOf, poolGroup, type View } from './topology.ts'

/** Changes within this time are one pass. */
const settleMs = 10
const retryMs = 500

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
  readonly #informers: Record<'classes' | 'configMaps' | keyof View, Informer>
  readonly #view: View
  /** Text of what was last written, by kind and name. */
  readonly #applied = new Map<string, string>()
  /** Open configuration streams of proxies, with what each was last told. */
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
    const informers = {
      classes: informer(`/apis/${gatewayGroup}/v1/gatewayclasses`),
      gateways: informer(`/apis/${gatewayGroup}/v1/gateways`),
      routes: informer(`/apis/${gatewayGroup}/v1/httproutes`),
      pools: informer(`/apis/${poolGroup}/v1/inferencepools`),
      pods: informer('/api/v1/pods'),
      services: informer('/api/v1/services'),
      configMaps: informer('/api/v1/configmaps'),
    }
    this.#informers = informers
    this.#view = {
      gateways: informers.gateways.items,
      routes: informers.routes.items,
      pools: informers.pools.items,
      pods: informers.pods.items,
      services: informers.services.items,
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
    const complete = await this.#reconcile()
    if (complete) this.#settle()
    this.#busy = false
    for (const response of this.#proxies.keys()) this.#tell(response)
    if (!complete || this.#again) this.#soon(complete ? settleMs : retryMs)
  }

  /** False when something could not be written: a conflict, or an object that went away; the next pass sees what is true then. */
  async #reconcile(): Promise<boolean> {
    const view = this.#view
    let complete = true
    const attempt = (work: Promise<void>) =>
      work.catch(() => {
        complete = false
      })
    if (this.#informers.classes.known) await attempt(this.#class())
    for (const gateway of alive(view.gateways)) if (isOurs(gateway)) await attempt(this.#gateway(gateway))
    const used = new Map<string, KubeObject[]>()
    for (const route of alive(view.routes)) {
      const parents = parentsOf(view, route).map(({ gateway }) => gateway)
      if (parents.length === 0) continue
      await attempt(this.#status(route, routeStatus(view, route)))
      for (const { pool } of backendsOf(view, route)) if (pool !== undefined) used.set(keyOf(pool), parents)
    }
    for (const pool of alive(view.pools)) {
      const parents = used.get(keyOf(pool))
      if (parents !== undefined) await attempt(this.#pool(pool, parents))
    }
    return complete
  }

  async #class(): Promise<void> {
    const { apiVersion, kind } = { apiVersion: `${gatewayGroup}/v1`, kind: 'GatewayClass' }
    const wanted = { apiVersion, kind, metadata: { name: className }, spec: { controllerName } }
    const live = this.#informers.classes.items.get(`/${className}`) ?? (await this.#apply(wanted, undefined))
    if (live === undefined || (live.spec as { controllerName?: string }).controllerName !== controllerName) return
    await this.#status(live, classStatus(live))
  }

  async #gateway(gateway: KubeObject): Promise<void> {
    const overlays = this.#overlays(gateway)
    if (typeof overlays === 'string') return this.#status(gateway, invalidGatewayStatus(gateway, overlays))
    let service: KubeObject | undefined
    for (const wanted of proxyObjects(gateway, overlays, this.#discoveryUrl)) {
      const isService = wanted.kind === 'Service'
      const live = isService ? this.#view.services.get(keyOf(wanted)) : undefined
      const written = await this.#apply(wanted, live, isService && live === undefined)
      if (isService) service = live ?? written
    }
    await this.#status(gateway, gatewayStatus(this.#view, gateway, service))
  }

  /** What the Gateway's ConfigMap overlays, or why it cannot be read. */
  #overlays(gateway: KubeObject): { deployment?: unknown; service?: unknown } | string {
    const ref = (gateway.spec as GatewaySpec).infrastructure?.parametersRef
    if (ref === undefined) return {}
    const configMap = this.#informers.configMaps.items.get(`${gateway.metadata.namespace}/${ref.name}`)
    if (configMap === undefined) return `failed to load parametersRef: configmap "${ref.name}" not found`
    const { deployment, service } = (configMap.data ?? {}) as Record<string, string>
    try {
      return {
        ...(deployment === undefined ? {} : { deployment: parse(deployment) as unknown }),
        ...(service === undefined ? {} : { service: parse(service) as unknown }),
      }
    } catch (error) {
      return `failed to parse parametersRef ${ref.name}: ${(error as Error).message}`
    }
  }

  async #pool(pool: KubeObject, parents: readonly KubeObject[]): Promise<void> {
    const shadow = shadowService(pool)
    await this.#apply(shadow, this.#view.services.get(keyOf(shadow)), true)
    await this.#status(pool, poolStatus(this.#view, pool, parents))
  }

  /** Writes an object when it differs from what was last written, or when `watched` and it is not there. */
  async #apply(wanted: KubeObject, live: KubeObject | undefined, watched = false): Promise<KubeObject | undefined> {
    const key = `${wanted.kind} ${keyOf(wanted)}`
    const text = JSON.stringify(wanted)
    if (this.#applied.get(key) === text && !(watched && live === undefined)) return live
    const written = await this.#client.apply(wanted, { fieldManager: controllerName, force: true })
    this.#applied.set(key, text)
    return written
  }

  async #status(object: KubeObject, wanted: Record<string, unknown>): Promise<void> {
    const status = withTimes(object.status, wanted, this.#now())
    if (status === undefined) return
    const { apiVersion, kind, metadata } = object
    const name = { name: metadata.name, ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }) }
    const options = { fieldManager: controllerName, force: true, subresource: 'status' }
    await this.#client.apply({ apiVersion, kind, metadata: name, status }, options)
  }

  /** Sends a proxy its configuration when it changed since it was told. The path of its request names its Gateway. */
  #tell(response: http.ServerResponse): void {
    const key = response.req.url!.slice(1)
    if (!this.#view.gateways.has(key)) return
    const text = JSON.stringify(gatewayConfig(this.#view, key))
    if (this.#proxies.get(response) === text) return
    this.#proxies.set(response, text)
    response.write(`${text}\n`)
  }
}
