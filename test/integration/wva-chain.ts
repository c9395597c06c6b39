import { mkdtemp } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from '@jest/globals'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { type Inputs, parseInputs, type RunInputs, type StandupInputs } from '../../src/inputs.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { removeOwnStack } from '../../src/modes/clean.ts'
import { run } from '../../src/modes/run.ts'
import type { Outcome, Session } from '../../src/modes/session.ts'
import { standup } from '../../src/modes/standup.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { modelLabel, names } from '../../src/stack/names.ts'
import { leftovers, model, namespace, startWorld, type World } from '../e2e/world.ts'
import type { RecordedRequest } from '../sandbox/api/faults.ts'
import { KubeClient } from '../sandbox/client.ts'
import type { Pod } from '../sandbox/controllers/objects.ts'
import type { SandboxOptions } from '../sandbox/sandbox.ts'
import { installWva } from '../sandbox/wva/install.ts'
import { controllerName, defaults, monitoringNamespace, type WvaOptions } from '../sandbox/wva/options.ts'

/** What takes minutes on a real cluster takes seconds here. */
export const intervals = { reconcile: '300ms', scrape: '150ms', window: '2s', relist: '200ms' } as const
/** A replica takes two requests at once, 20 ms per token: a handful of clients make a queue. */
const slowServer = { SIM_MAX_SEQS: '2', SIM_STEP_MS: '20' }
/** Scales up at once, down soon. */
export const quickHpa =
  'scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 10, periodSeconds: 15}]}\nscaleDown: {stabilizationWindowSeconds: 1, policies: [{type: Pods, value: 10, periodSeconds: 15}]}'

export const controllers = { resource: 'deployments.apps', namespace: defaults.namespace, name: controllerName }
export const adapter = {
  resource: 'deployments.apps',
  namespace: monitoringNamespace,
  name: 'prometheus-adapter',
}
export const prometheus = { ...adapter, name: 'prometheus' }
export const externalMetrics = '/apis/external.metrics.k8s.io/'
type Ref = { readonly resource: string; readonly namespace: string | undefined; readonly name: string }

interface StandupSession {
  readonly session: Session<StandupInputs>
  readonly outcome: Outcome
}

/** A cluster with the autoscaling platform, the modes as they are called in this process, and hands that break links. */
export class Chain {
  readonly world: World
  readonly #wva: WvaOptions | undefined
  readonly decode = names({ release: 'llmdbench', label: modelLabel(namespace, model) }).decode
  readonly vllm = names({ release: 'llmdbench', label: modelLabel(namespace, model) }).vllm
  /** Of the last mode that was opened. */
  lines: string[] = []
  readonly #before: readonly string[]
  /** Deployments whose pods have read another ConfigMap than the installed one. */
  readonly #configured: Ref[] = []
  readonly #onLine = new Set<(line: string) => void>()

  private constructor(world: World, wva: WvaOptions | undefined) {
    this.world = world
    this.#wva = wva
    this.#before = world.sandbox.snapshot()
  }

  static async start(platform: WvaOptions = {}): Promise<Chain> {
    const wva = { ...intervals, ...platform }
    return new Chain(await startWorld({ sandbox: { env: slowServer, hpaSyncMs: 300, wva } }), wva)
  }
  /** A cluster in which the platform is not installed. */
  static async without(sandbox: SandboxOptions): Promise<Chain> {
    return new Chain(await startWorld({ sandbox }), undefined)
  }
  close(): Promise<void> {
    return this.world.close()
  }

  get sandbox() {
    return this.world.sandbox
  }
  get #store() {
    return this.sandbox.api.store
  }
  get log(): Log {
    const keep = (line: string) => {
      this.lines.push(line)
      for (const hear of this.#onLine) hear(line)
    }
    const group: Log['group'] = (name, work) => {
      keep(name)
      return work()
    }
    return { ...silentLog, info: keep, warning: keep, group }
  }
  get text(): string {
    return this.lines.join('\n')
  }
  /** Does something, once, when a mode says a line. */
  whenSaid(pattern: RegExp, act: () => void): void {
    const hear = (line: string) => {
      if (!pattern.test(line)) return
      this.#onLine.delete(hear)
      act()
    }
    this.#onLine.add(hear)
  }

  async #open<I extends Inputs>(mode: 'standup' | 'run', more: Readonly<Record<string, string>>): Promise<Session<I>> {
    const { 'github-token': _token, matrix: _matrix, ...given } = this.world.inputsOf[mode]
    const parsed = parseInputs({ ...given, 'settle-window': intervals.window, ...more }, { door: 'cli' })
    if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
    this.lines = []
    return {
      inputs: parsed.ok as I,
      ...{ env: {}, log: this.log, signal: AbortSignal.timeout(150_000), github: undefined, attempt: 1 },
      ...{ runId: Math.random().toString(36).slice(2, 10), holder: 'cli/test', key: 'k', leg: 'wva' },
      ...{ touch: () => undefined, out: await mkdtemp(path.join(tmpdir(), 'bench-chain-')) },
    }
  }

  /** A standup of a leg under WVA; a link that does not work is waited for as long as `gates` says. */
  async standup(more: Readonly<Record<string, string>> = {}, gates = '30s'): Promise<StandupSession> {
    const session = await this.#open<StandupInputs>('standup', {
      ...{ wva: 'true', lifetime: 'job', timeouts: `gates: ${gates}`, 'hpa-behavior': quickHpa },
      ...more,
    })
    return { session, outcome: await standup(session) }
  }
  async stands(more: Readonly<Record<string, string>> = {}): Promise<StandupSession> {
    const stood = await this.standup(more)
    expect(stood.outcome.failure).toBeUndefined()
    return stood
  }
  async run(more: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    return run(await this.#open<RunInputs>('run', more))
  }
  /** The post step of a standup, and what of it is left besides what is kept on purpose. */
  async post({ session }: StandupSession): Promise<string[]> {
    const api = this.api()
    await removeOwnStack(api, session)
    await api.close()
    // The platform makes and loses pods of its own meanwhile.
    return leftovers(this.#before, this.sandbox.snapshot()).filter(
      line => line.includes(` ${namespace}/`) || line.includes(' Lease ') || !line.includes('/', line.lastIndexOf(' ')),
    )
  }
  api(): Api {
    return new Api(loadKubeconfig({ kind: 'content', yaml: this.sandbox.kubeconfig }, undefined, {}), this.log)
  }
  /** Whatever a mode has written, without the questions that are asked by POST. */
  writes(): RecordedRequest[] {
    return this.sandbox.api
      .requests()
      .filter(r => r.userAgent.includes('bench-action') && r.method !== 'GET' && !r.path.includes('selfsubject'))
  }

  /** An object of the stack by its resource, or any other. */
  peek(of: string | Ref): KubeObject | undefined {
    const { resource, namespace: where, name } = typeof of === 'string' ? this.own(of) : of
    return this.#store.peek(resource, where, name)
  }
  /** Deployment, HPA and VariantAutoscaling share a name. */
  own(resource: string): Ref {
    return { resource, namespace, name: this.decode }
  }
  pods(): Pod[] {
    const all = this.#store.peekAll('pods', namespace) as Pod[]
    return all.filter(p => p.metadata.labels?.['llm-d.ai/role'] === 'decode')
  }
  get replicas(): number | undefined {
    return (this.peek('deployments.apps')?.spec as { replicas?: number } | undefined)?.replicas
  }
  get desired(): number | undefined {
    const status = this.peek('variantautoscalings.llmd.ai')?.status as
      | { desiredOptimizedAlloc?: { numReplicas?: number } }
      | undefined
    return status?.desiredOptimizedAlloc?.numReplicas
  }
  /** What an HPA would be told. */
  async metric(): Promise<string[]> {
    const client = this.client()
    try {
      const found = await client.list(`${externalMetrics}v1beta1/namespaces/${namespace}/inferno_desired_replicas`, {
        labelSelector: `variant_name=${this.decode}`,
      })
      return found.items.map(item => String(item.value))
    } finally {
      client.close()
    }
  }
  client(): KubeClient {
    const { api } = this.sandbox
    return new KubeClient({ server: api.url, ca: api.caPem, token: api.adminToken })
  }

  edit({ resource, namespace: of, name }: Ref, change: (draft: KubeObject) => void): void {
    this.#store.modify(resource, of, name, change)
  }
  remove({ resource, namespace: of, name }: Ref): void {
    this.#store.delete(resource, of, name)
  }
  scale(deployment: Ref, replicas: number): void {
    this.edit(deployment, draft => Object.assign(draft.spec as object, { replicas }))
  }
  /** Changes the ConfigMap that the pods of a Deployment of the platform read at their start, and makes new pods. */
  async configure(deployment: Ref, config: string, change: (data: Record<string, string>) => void): Promise<void> {
    this.edit({ ...deployment, resource: 'configmaps', name: config }, draft =>
      change(draft.data as Record<string, string>),
    )
    this.#configured.push(deployment)
    await this.#restart(deployment)
  }
  async #restart({ namespace: of, name }: Ref): Promise<void> {
    const mine = () => this.#store.peekAll('pods', of).filter(p => p.metadata.name.startsWith(`${name}-`))
    const old = mine().map(p => p.metadata.uid)
    for (const pod of mine()) this.#store.delete('pods', of, pod.metadata.name)
    await this.sandbox.until(
      `new pods of ${name}`,
      () => mine().length > 0 && mine().every(p => !old.includes(p.metadata.uid)),
    )
  }
  /** Does something, once, as soon as an object is there and `ready` holds, before anybody else hears of it. */
  whenThere(resource: string, act: () => void, ready: (object: KubeObject) => boolean = () => true): void {
    const stop = this.#store.subscribe(({ type, resource: of, object }) => {
      if (of !== resource || type === 'DELETED' || object.metadata.name !== this.decode || !ready(object)) return
      stop()
      act()
    })
  }

  /** Puts the platform back as it was installed, and waits until it works. */
  async repair(): Promise<void> {
    const client = this.client()
    await installWva(client, this.#wva)
    for (const deployment of this.#configured.splice(0)) await this.#restart(deployment)
    await installWva(client, this.#wva)
    client.close()
  }

  /** So many clients at each decode pod there is or comes, until the function that is returned is called. */
  load(clients = 12): () => Promise<void> {
    const stop = new AbortController()
    const work = async (index: number): Promise<void> => {
      while (!stop.signal.aborted) {
        const pods = this.pods().filter(
          p => p.status?.podIP !== undefined && p.metadata.deletionTimestamp === undefined,
        )
        const pod = pods[index % Math.max(1, pods.length)]
        const took = pod === undefined ? false : await complete(pod.status!.podIP!, stop.signal)
        if (!took) await new Promise(resolve => setTimeout(resolve, 100))
      }
    }
    const all = Array.from({ length: clients * 4 }, (_, index) => work(index))
    return async () => {
      stop.abort()
      await Promise.all(all)
    }
  }
}

/** One completion of about a second. @returns whether it was answered */
function complete(host: string, signal: AbortSignal): Promise<boolean> {
  return new Promise(resolve => {
    const request = http.request(
      { host, port: 8200, path: '/v1/completions', method: 'POST', signal, agent: false },
      answer => answer.resume().on('close', () => resolve(answer.statusCode === 200)),
    )
    request.on('error', () => resolve(false))
    request.end(JSON.stringify({ model, prompt: 'a few words', max_tokens: 50 }))
  })
}
