import { createServer, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Api, pause } from '../../../src/cluster/api.ts'
import { loadKubeconfig } from '../../../src/cluster/config.ts'
import { Observer } from '../../../src/cluster/observer.ts'
import type { Log } from '../../../src/log.ts'
import { silentLog } from '../../../src/log.ts'
import { type Scalers, watchScalers } from '../../../src/modes/scalers.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { names } from '../../../src/stack/names.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { certificates } from '../../sandbox/api/credentials.ts'
import { type ApiServer, startApiServer } from '../../sandbox/api/server.ts'
import { only, specWith } from '../../unit/stack/specs.ts'

export const spec = specWith({ wva: true, maxReplicas: 4 })
export const { namespace } = spec
export const { decode } = names(spec)
export const controllerNamespace = 'llm-d-autoscaler'
const controllerName = 'workload-variant-autoscaler-controller-manager'
const variants = 'variantautoscalings.llmd.ai'
const autoscalers = 'horizontalpodautoscalers.autoscaling'
const deployments = 'deployments.apps'
const answerMs = 15

export const page = (queue: { running?: number; waiting?: number; model?: string } = {}): string => {
  const { running = 0, waiting = 0, model = spec.model } = queue
  return `vllm:num_requests_running{engine="0",model_name="${model}"} ${running}
vllm:num_requests_waiting{engine="0",model_name="${model}"} ${waiting}
vllm:kv_cache_usage_perc{engine="0",model_name="${model}"} 0.25
`
}

/**
 * A stack under WVA at an API server, in which the test plays everybody else: the Deployment controller, the model
 * servers, the WVA controller, the metrics adapter and the HPA controller. Each answers a few ms after what it watches.
 */
export class ScaledStack {
  readonly server: ApiServer
  readonly lines: string[] = []
  readonly log: Log = {
    ...silentLog,
    info: line => void this.lines.push(line),
    warning: line => void this.lines.push(line),
  }
  readonly stop = new AbortController()
  /** What WVA decides for the n-th VariantAutoscaling, from 1; undefined: nothing. */
  decide: (nth: number) => number | undefined = () => 1
  /** Values of the external metric; by default what was decided last. */
  values: () => readonly unknown[] = () => (this.decided === undefined ? [] : [this.decided])
  /** Answers for the page /metrics of every model server. */
  metrics: (response: ServerResponse) => void = response => void response.end(page())
  /** Whether the HPA finds its metric. */
  active = true
  decided: number | undefined
  made = 0
  readonly #api: Api
  readonly #https: Server
  readonly #pages: Server
  readonly #address: string
  #pod = 0
  #paused = false
  #unsubscribe = (): void => undefined

  private constructor(server: ApiServer, https: Server, pages: Server, address: string) {
    this.server = server
    this.#https = https
    this.#pages = pages
    this.#address = address
    this.#api = this.open()
  }

  static async start(): Promise<ScaledStack> {
    const server = await startApiServer({ bookmarkMs: 200 })
    const pems = await certificates('127.0.0.1')
    let stack: ScaledStack | undefined
    const https = createHttpsServer({ key: pems.key, cert: pems.cert }, (request, response) => {
      const items = request.url?.includes(`variant_name%3D${decode}`) ? stack!.values() : []
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ kind: 'ExternalMetricValueList', items: items.map(value => ({ value })) }))
    })
    const pages = createServer((_request, response) => stack!.metrics(response))
    // The port of a model server is fixed; an address of its own keeps it apart from other tests.
    const octet = () => 2 + Math.floor(Math.random() * 250)
    const address = `127.${octet()}.${octet()}.${octet()}`
    await new Promise<void>(resolve => https.listen(0, '127.0.0.1', resolve))
    await new Promise<void>(resolve => pages.listen(8200, address, resolve))
    stack = new ScaledStack(server, https as unknown as Server, pages, address)
    stack.#furnish((https.address() as AddressInfo).port)
    return stack
  }

  get api(): Api {
    return this.#api
  }
  open(token?: string): Api {
    const yaml = this.server.kubeconfig(token === undefined ? {} : { token })
    return new Api(loadKubeconfig({ kind: 'content', yaml }, undefined, {}), this.log, { firstDelayMs: 10 })
  }

  /** What the steps on the scalers need; the observer is closed with the stack. */
  async scalers(more: Partial<Scalers> = {}): Promise<Scalers> {
    const observer = new Observer(this.api, namespace, this.log, this.stop.signal)
    await watchScalers(observer, spec.stack)
    const target = { ...spec, autoscaling: spec.autoscaling! }
    return { api: this.api, target, observer, gateMs: 3000, signal: this.stop.signal, log: this.log, ...more }
  }

  /** What we have written since `from` requests, as `PATCH variantautoscalings`; the scale subresource as `PATCH scale`. */
  writes(from = 0): string[] {
    return this.server
      .requests()
      .slice(from)
      .filter(r => r.userAgent === 'llm-d-bench-action' && r.method !== 'GET')
      .map(r => `${r.method} ${/\/(scale)$/.exec(r.path)?.[1] ?? r.path.split('/').at(-2)}`)
  }
  get asked(): number {
    return this.server.requests().length
  }

  variant = (): KubeObject | undefined => this.server.store.peek(variants, namespace, decode)
  hpa = (): KubeObject | undefined => this.server.store.peek(autoscalers, namespace, decode)
  create = (kind: 'VariantAutoscaling' | 'HorizontalPodAutoscaler', labels?: Record<string, string>): KubeObject => {
    const object = only(stackObjects(spec), kind, decode)
    return this.server.store.create({
      ...object,
      metadata: { ...object.metadata, ...(labels === undefined ? {} : { labels }) },
    })
  }
  scale(replicas: number): void {
    this.server.store.modify(deployments, namespace, decode, draft => Object.assign(draft.spec as object, { replicas }))
  }
  /** The Deployment controller does nothing until `resume`. */
  pause(): void {
    this.#paused = true
  }
  resume(): void {
    this.#paused = false
    this.#deploy()
  }
  pods(): KubeObject[] {
    return this.server.store.list('pods', namespace)
  }
  async until(what: string, check: () => boolean): Promise<void> {
    for (const end = Date.now() + 8000; !check(); await pause(10))
      if (Date.now() > end) throw new Error(`not seen: ${what}`)
  }
  controllerStatus(status: object): void {
    this.server.store.patchStatus(deployments, controllerNamespace, controllerName, { ...status })
  }
  controllerPod(restartCount: number): void {
    const name = 'wva-0'
    this.server.store.create({
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: {
        ...{ name, namespace: controllerNamespace },
        labels: {
          'app.kubernetes.io/name': 'workload-variant-autoscaler',
          'control-plane': 'controller-manager',
        },
      },
      spec: { containers: [{ name: 'manager', image: 'wva' }] },
    })
    this.server.store.patchStatus('pods', controllerNamespace, name, {
      containerStatuses: [{ name: 'manager', restartCount }],
    })
  }

  async close(): Promise<void> {
    this.stop.abort()
    this.#unsubscribe()
    await this.#api.close()
    for (const server of [this.#https, this.#pages]) {
      server.close()
      server.closeAllConnections()
    }
    await this.server.close()
  }

  #furnish(port: number): void {
    const { store } = this.server
    for (const name of [namespace, controllerNamespace])
      store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    const service = { name: 'prometheus-adapter', namespace: controllerNamespace }
    store.create({
      ...{ apiVersion: 'v1', kind: 'Service', metadata: service },
      spec: { ports: [{ name: 'https', port: 443, targetPort: port }] },
    })
    store.create({
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
      metadata: { ...service, labels: { 'kubernetes.io/service-name': service.name } },
      ...{ endpoints: [{ addresses: ['127.0.0.1'] }], ports: [{ name: 'https', port }] },
    } as KubeObject)
    const name = 'v1beta1.external.metrics.k8s.io'
    store.create({
      ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name } },
      spec: {
        ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', insecureSkipTLSVerify: true },
        ...{ groupPriorityMinimum: 100, versionPriority: 100, service: { ...service, port: 443 } },
      },
    })
    store.patchStatus('apiservices.apiregistration.k8s.io', undefined, name, {
      conditions: [{ type: 'Available', status: 'True' }],
    })
    const labels = { app: 'wva' }
    store.create({
      ...{ apiVersion: 'apps/v1', kind: 'Deployment' },
      metadata: { name: controllerName, namespace: controllerNamespace },
      spec: {
        ...{ replicas: 1, selector: { matchLabels: labels } },
        template: { metadata: { labels }, spec: { containers: [{ name: 'manager', image: 'wva' }] } },
      },
    })
    this.controllerStatus({ availableReplicas: 1 })
    this.#unsubscribe = store.subscribe(({ type, object }) => {
      if (this.stop.signal.aborted) return
      if (object.kind === 'Deployment' && object.metadata.name === decode && type !== 'DELETED')
        setTimeout(() => this.#deploy(), answerMs)
      if (object.kind === 'VariantAutoscaling' && type === 'ADDED') setTimeout(() => this.#decided(object), answerMs)
      if (object.kind === 'HorizontalPodAutoscaler' && type === 'ADDED') setTimeout(() => this.#looked(), answerMs)
    })
    const object = only(stackObjects(spec), 'Deployment', decode)
    store.create({ ...object, spec: { ...(object.spec as object), replicas: 1 } })
  }

  /** As many pods as are asked for, all Ready at once. */
  #deploy(): void {
    const { store } = this.server
    const live = store.get(deployments, namespace, decode)
    if (live === undefined || this.#paused || this.stop.signal.aborted) return
    const { replicas, template } = live.spec as { replicas: number; template: { metadata: object; spec: object } }
    const pods = this.pods()
    for (const pod of pods.slice(replicas)) store.delete('pods', namespace, pod.metadata.name, { graceSeconds: 0 })
    for (let i = pods.length; i < replicas; i++) {
      const name = `${decode}-${++this.#pod}`
      store.create({
        ...{ apiVersion: 'v1', kind: 'Pod' },
        ...{ metadata: { ...template.metadata, name, namespace }, spec: template.spec },
      })
      store.patchStatus('pods', namespace, name, {
        ...{ phase: 'Running', podIP: this.#address, conditions: [{ type: 'Ready', status: 'True' }] },
      })
    }
    const status = { observedGeneration: live.metadata.generation, replicas, readyReplicas: replicas }
    store.patchStatus(deployments, namespace, decode, status)
  }

  #decided(variant: KubeObject): void {
    const numReplicas = this.decide(++this.made)
    if (numReplicas === undefined || this.variant()?.metadata.uid !== variant.metadata.uid) return
    this.decided = numReplicas
    this.decideNow(numReplicas)
  }
  /** A decision that is a moment old, or of another time. */
  decideNow(numReplicas: number, at = new Date()): void {
    const lastRunTime = `${at.toISOString().slice(0, 19)}Z`
    this.decided = numReplicas
    this.server.store.patchStatus(variants, namespace, decode, {
      desiredOptimizedAlloc: { accelerator: 'H100', numReplicas, lastRunTime },
    })
  }

  #looked(): void {
    if (this.hpa() === undefined) return
    const status = this.active ? 'True' : 'False'
    this.server.store.patchStatus(autoscalers, namespace, decode, {
      ...{ currentReplicas: 1, desiredReplicas: 1 },
      conditions: [{ type: 'ScalingActive', status, reason: 'r', message: 'no metrics returned\n::error::x' }],
      currentMetrics: this.active ? [{ type: 'External', external: { current: { averageValue: '1' } } }] : [],
    })
  }
}
