import { expect } from '@jest/globals'
import type { KubeObject } from '../../src/stack/kube.ts'
import type { Pod } from '../sandbox/controllers/objects.ts'
import { acceleratorLabel, type VariantStatus } from '../sandbox/wva/variants.ts'
import { getPage } from '../sandbox/wva/web.ts'
import { eventually, type Platform } from './wva-platform.ts'

/** A replica whose load is what it was told by `/set?kv=0.9&queue=9`. */
const replica = `
const load = { kv: 0, queue: 0 }
require('http').createServer((request, response) => {
  const url = new URL(request.url, 'http://x')
  for (const [name, value] of url.searchParams) load[name] = value
  const labels = '{engine="0",model_name="' + process.env.MODEL + '"}'
  response.end(['kv_cache_usage_perc' + labels + ' ' + load.kv, 'num_requests_waiting' + labels + ' ' + load.queue,
    'num_requests_running' + labels + ' 0', 'request_success_total' + labels + ' 0', ''].join('\\n').replace(/^(?=.)/gm, 'vllm:'))
}).listen(8200, process.env.SANDBOX_POD_IP)
process.on('SIGTERM', () => process.exit(0))`

let count = 0
const started: Stack[] = []

/** A model server of its own namespace with a Service, and what the tests do to it. */
export class Stack {
  readonly namespace: string
  readonly model: string
  /** Of the Deployment and its variant. The controller mixes up namesakes, so each test has a name of its own. */
  readonly variant: string
  readonly #platform: Platform

  private constructor(platform: Platform, number: number, variant: string) {
    this.#platform = platform
    this.namespace = `stack-${number}`
    this.model = `org/model-${number}`
    this.variant = variant
  }

  /** Resolves when Prometheus has every replica, or when they are Ready where nothing monitors them. */
  static async start(
    platform: Platform,
    replicas: number,
    options: { monitored?: boolean; variant?: string } = {},
  ): Promise<Stack> {
    count++
    const stack = new Stack(platform, count, options.variant ?? `m${count}-decode`)
    started.push(stack)
    const { namespace, model, variant } = stack
    const labels = { 'llm-d.ai/model': 'm' }
    const create = (object: KubeObject) => platform.sandbox.api.store.create(object)
    create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
    await platform.sandbox.until('the ServiceAccount', () =>
      platform.sandbox.api.store.peek('serviceaccounts', namespace, 'default'),
    )
    const container = {
      ...{ name: 'vllm', image: 'registry.test/vllm:1', command: [process.execPath, '-e', replica] },
      env: [{ name: 'MODEL', value: model }],
      readinessProbe: { httpGet: { path: '/', port: 8200 }, periodSeconds: 1 },
    }
    create({
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: variant, namespace } },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container] } },
      },
    })
    create({
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'vllm-service', namespace, labels } },
      spec: { selector: labels, ports: [{ name: 'vllm', port: 8200, targetPort: 8200 }] },
    })
    if (options.monitored === false) await stack.ready(replicas)
    else {
      stack.monitor()
      await stack.measured(replicas)
    }
    return stack
  }

  /** Takes down what the test started: the controller looks at every variant of the cluster, so a left one costs the next test time. */
  static endAll(): void {
    for (const stack of started.splice(0))
      stack.#platform.sandbox.api.store.delete('namespaces', undefined, stack.namespace)
  }

  monitor(): void {
    const labels = { 'llm-d.ai/model': 'm' }
    this.#platform.sandbox.api.store.create({
      ...{ apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor' },
      metadata: { name: 'vllm-servicemonitor', namespace: this.namespace, labels },
      spec: { selector: { matchLabels: labels }, endpoints: [{ port: 'vllm', path: '/metrics', interval: '15s' }] },
    })
  }
  unmonitor(): void {
    this.#platform.sandbox.api.store.delete(
      'servicemonitors.monitoring.coreos.com',
      this.namespace,
      'vllm-servicemonitor',
    )
  }

  pods(): Pod[] {
    return this.#platform.pods(this.namespace, this.variant)
  }
  async ready(replicas: number): Promise<void> {
    await this.#platform.sandbox.until(`${replicas} replicas`, () => {
      const live = this.#platform.sandbox.api.store.peek('deployments.apps', this.namespace, this.variant)
      const status = live?.status as { readyReplicas?: number; replicas?: number } | undefined
      return this.pods().length === replicas && status?.readyReplicas === replicas && status.replicas === replicas
    })
  }
  /** Waits until Prometheus has an answer of that many replicas. */
  async measured(replicas: number): Promise<void> {
    await this.ready(replicas)
    const query = `vllm:num_requests_waiting{namespace="${this.namespace}"}`
    await eventually(`${replicas} measured replicas`, async () =>
      (await this.#platform.query(query)).length === replicas ? true : undefined,
    )
  }
  scale(replicas: number): void {
    this.#platform.sandbox.api.store.modify('deployments.apps', this.namespace, this.variant, draft =>
      Object.assign(draft.spec as object, { replicas }),
    )
  }
  /** Every replica that is there; resolves when Prometheus has seen it. */
  async queue(length: number): Promise<void> {
    await Promise.all(
      this.pods().map(pod =>
        getPage(new URL(`http://${pod.status?.podIP}:8200/set?queue=${length}`), {
          timeoutMs: 2_000,
          byPodAddress: true,
        }),
      ),
    )
    const query = `vllm:num_requests_waiting{namespace="${this.namespace}"}`
    await eventually(`a queue of ${length}`, async () =>
      (await this.#platform.query(query)).every(point => point.value === length) ? true : undefined,
    )
  }

  createVariant(labels: Record<string, string> = { [acceleratorLabel]: 'H100' }, name = this.variant): void {
    this.#platform.sandbox.api.store.create({
      ...{ apiVersion: 'llmd.ai/v1alpha1', kind: 'VariantAutoscaling' },
      metadata: { name, namespace: this.namespace, labels },
      spec: { modelID: this.model, variantCost: '10.0' },
    })
  }
  deleteVariant(): void {
    this.#platform.sandbox.api.store.delete('variantautoscalings.llmd.ai', this.namespace, this.variant)
  }
  status(name = this.variant): VariantStatus | undefined {
    return this.#platform.sandbox.api.store.peek('variantautoscalings.llmd.ai', this.namespace, name)?.status as
      | VariantStatus
      | undefined
  }
  get desired(): number | undefined {
    return this.status()?.desiredOptimizedAlloc?.numReplicas
  }
  /** The first decision after the creation of the variant. */
  async firstDecision(): Promise<number> {
    await this.#platform.sandbox.until('a decision', () => this.desired !== undefined)
    return this.desired!
  }
  async decides(replicas: number): Promise<void> {
    await this.#platform.sandbox.until(`desired ${replicas}`, () => this.desired === replicas)
  }
  /** Several passes of the controller that all decide the same. */
  async stays(replicas: number, passes = 4): Promise<void> {
    const lines = () => this.#platform.controllerLog().filter(line => line.includes('Reconciliation completed')).length
    const end = lines() + passes
    await eventually(`${passes} passes`, async () => {
      expect(this.desired).toBe(replicas)
      return lines() >= end ? true : undefined
    })
  }
}
