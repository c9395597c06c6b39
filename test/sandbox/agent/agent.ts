import path from 'node:path'
import type { Cluster } from '../controllers/cluster.ts'
import { now, type Pod, type PodStatus } from '../controllers/objects.ts'
import { ApiStatusError, type ExecIo, type LogOptions, type PodRuntime } from '../runtime.ts'
import type { Container } from './container.ts'
import type { NodeServices, PodContext } from './node.ts'
import { PodWorker, podTitle } from './pod.ts'
import { pause } from './probes.ts'

export interface AgentOptions {
  readonly services: NodeServices
  /** Gives a pod its address and variables of this machine, and what to do when it is gone. */
  join(pod: Pod): { podIP: string; env: Record<string, string>; token: string; leave(): void }
  readonly caPem: string
  /** First back-off of restarts, pulls and mounts. */
  readonly backoffMs: number
}

/** The kubelet of every node of the sandbox: runs the pods that are bound to one, and answers logs and exec. */
export class NodeAgent implements PodRuntime {
  readonly #cluster: Cluster
  readonly #options: AgentOptions
  readonly #workers = new Map<string, PodWorker>()
  readonly #ending = new Set<string>()
  readonly #leave = new Map<string, () => void>()
  #closed = false
  #configWaiters: { namespace: string; wake: () => void }[] = []

  constructor(cluster: Cluster, options: AgentOptions) {
    this.#cluster = cluster
    this.#options = options
    cluster.watch(['pods'], ({ type, object }) => {
      const pod = object as Pod
      const uid = pod.metadata.uid ?? ''
      if (type === 'DELETED') this.#end(pod, 0)
      else if (!pod.spec.nodeName) return
      else if (pod.metadata.deletionTimestamp)
        this.#end(pod, Number(pod.metadata.deletionGracePeriodSeconds ?? 30) * 1000)
      // The controllers run longer than the nodes, and replace what ends.
      else if (!this.#closed && !this.#leave.has(uid) && !this.#ending.has(uid)) this.#start(pod)
    })
    cluster.watch(['configmaps', 'secrets', 'persistentvolumeclaims'], ({ object }) => {
      const waiting = this.#configWaiters
      this.#configWaiters = waiting.filter(w => w.namespace !== object.metadata.namespace)
      for (const w of waiting) if (w.namespace === object.metadata.namespace) w.wake()
    })
  }

  #start(pod: Pod): void {
    const uid = pod.metadata.uid ?? ''
    const joined = this.#options.join(pod)
    this.#leave.set(uid, joined.leave)
    this.#workers.set(uid, new PodWorker(this.#context(pod, joined)))
  }

  #context(pod: Pod, joined: { podIP: string; env: Record<string, string>; token: string }): PodContext {
    const cluster = this.#cluster
    const { services, caPem, backoffMs } = this.#options
    const { namespace = '', uid = '' } = pod.metadata
    const component = 'kubelet'
    const startTime = now()
    const node = cluster.get('nodes', undefined, pod.spec.nodeName ?? '')
    const addresses = (node?.status as { addresses?: { address: string }[] } | undefined)?.addresses
    const address = { podIP: joined.podIP, hostIP: addresses?.[0]?.address ?? '127.0.0.1' }
    const publish = cluster.queue(() => {
      const worker = this.#workers.get(uid)
      if (worker) cluster.setStatus(pod, 'pods', old => ({ ...worker.status(old as PodStatus, startTime) }), component)
    })
    const resource = { ConfigMap: 'configmaps', Secret: 'secrets' } as const
    return {
      ...{ node: services, pod, title: podTitle(pod), address, baseEnv: joined.env, backoffMs },
      folder: path.join(services.workDir, 'pods', uid),
      graceMs: (pod.spec.terminationGracePeriodSeconds ?? 30) * 1000,
      volumes: {
        ...{ address, caPem, token: joined.token },
        lookup: (kind, name) => cluster.get(resource[kind], namespace, name),
        claim: name => cluster.get('persistentvolumeclaims', namespace, name),
        claimFolder: claim => claimFolder(services.workDir, claim.metadata.uid ?? ''),
      },
      changed: () => publish(''),
      problem: error =>
        cluster.guard(() => {
          throw error
        }),
      event: (type, reason, message, fieldPath) =>
        cluster.event(pod, {
          type,
          reason,
          message,
          component,
          host: pod.spec.nodeName ?? '',
          ...(fieldPath ? { fieldPath } : {}),
        }),
      configChanged: async (ms, signal) => {
        const woken = new AbortController()
        this.#configWaiters.push({ namespace, wake: () => woken.abort() })
        await pause(ms, AbortSignal.any([signal, woken.signal]))
      },
    }
  }

  /** Ends the pod's containers, then lets the object go. A second call with less grace makes it quicker. */
  #end(pod: Pod, graceMs: number): void {
    const uid = pod.metadata.uid ?? ''
    const first = !this.#ending.has(uid)
    this.#ending.add(uid)
    const worker = this.#workers.get(uid)
    if (!first && graceMs > 0) return
    void (async () => {
      await worker?.terminate(graceMs)
      if (!this.#workers.delete(uid) && worker) return
      if (worker)
        this.#cluster.setStatus(
          pod,
          'pods',
          old => ({ ...worker.status(old as PodStatus, String(old.startTime ?? now())) }),
          'kubelet',
        )
      this.#cluster.remove(pod, 'pods', 0)
      this.#leave.get(uid)?.()
      await worker?.removeFolder()
      this.#leave.delete(uid)
      this.#ending.delete(uid)
    })()
  }

  #find(namespace: string, name: string, container: string): Container {
    const uid = this.#cluster.get('pods', namespace, name)?.metadata.uid
    const worker = uid === undefined ? undefined : this.#workers.get(uid)
    if (worker === undefined) throw new ApiStatusError(404, `pods "${name}" not found`)
    const found = worker.containers.find(c => c.spec.name === container)
    if (found === undefined) throw new ApiStatusError(400, `container ${container} is not valid for pod ${name}`)
    return found
  }

  async *logs(namespace: string, pod: string, container: string, options: LogOptions): AsyncIterable<Uint8Array> {
    const found = this.#find(namespace, pod, container)
    const log = options.previous ? found.previousLog : found.log
    if (log === undefined && options.previous)
      throw new ApiStatusError(400, `previous terminated container "${container}" in pod "${pod}" not found`)
    if (log === undefined)
      throw new ApiStatusError(
        400,
        `container "${container}" in pod "${pod}" is waiting to start: ${found.state.waiting?.reason ?? 'ContainerCreating'}`,
      )
    yield* log.read(options)
  }

  async exec(namespace: string, pod: string, container: string, argv: readonly string[], io: ExecIo): Promise<number> {
    const found = this.#find(namespace, pod, container)
    if (!found.running) throw new ApiStatusError(500, `container not found ("${container}")`, 'InternalError')
    return found.exec(argv, io)
  }

  /** What a container wrote so far, for tests. */
  logText(namespace: string, pod: string, container: string): string {
    return this.#find(namespace, pod, container).log?.text() ?? ''
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#workers.values()].map(w => w.terminate(0)))
    for (const leave of this.#leave.values()) leave()
  }
}

export const claimFolder = (workDir: string, claimUid: string): string => path.join(workDir, 'claims', claimUid)
