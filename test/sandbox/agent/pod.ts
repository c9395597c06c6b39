import { mkdir, rm } from 'node:fs/promises'
import {
  type Condition,
  type ContainerSpec,
  type Pod,
  type PodStatus,
  type Terminated,
  withCondition,
} from '../controllers/objects.ts'
import { Container, type ContainerKind } from './container.ts'
import type { PodContext } from './node.ts'
import { checkVolume, MountError } from './volumes.ts'

/** Runs the containers of one pod in the order that Kubernetes has, from its volumes to its last exit. */
export class PodWorker {
  readonly context: PodContext
  readonly containers: Container[]
  readonly #stop = new AbortController()
  readonly #stopped = new Promise(resolve => this.#stop.signal.addEventListener('abort', resolve, { once: true }))
  readonly #done: Promise<void>
  readonly #sidecars: Promise<unknown>[] = []
  #initialized = false
  #final: 'Succeeded' | 'Failed' | undefined

  constructor(context: PodContext) {
    this.context = context
    const { spec } = context.pod
    const waits = (spec.initContainers ?? []).length > 0
    const make = (c: ContainerSpec, kind: ContainerKind) => new Container(context, c, kind, waits)
    this.containers = [
      ...(spec.initContainers ?? []).map(c => make(c, c.restartPolicy === 'Always' ? 'sidecar' : 'init')),
      ...spec.containers.map(c => make(c, 'main')),
    ]
    this.#done = this.#run().catch(context.problem)
  }

  #of(kind: ContainerKind): Container[] {
    return this.containers.filter(c => c.kind === kind)
  }

  async #run(): Promise<void> {
    const { pod, folder, changed } = this.context
    const policy = pod.spec.restartPolicy ?? 'Always'
    await mkdir(folder, { recursive: true })
    changed()
    if (!(await this.#mountable())) return
    for (const container of this.containers) {
      if (this.#stop.signal.aborted) return
      if (container.kind === 'main') break
      if (container.kind === 'sidecar') {
        this.#sidecars.push(container.run('Always').catch(this.context.problem))
        await Promise.race([container.begun, this.#stopped])
        continue
      }
      const end = await container.run(policy === 'Never' ? 'Never' : 'OnFailure')
      if (this.#stop.signal.aborted) return
      if (end?.exitCode !== 0) return this.#finish('Failed')
    }
    if (this.#stop.signal.aborted) return
    this.#initialized = true
    changed()
    const ends = await Promise.all(this.#of('main').map(c => c.run(policy)))
    if (!this.#stop.signal.aborted) await this.#finish(outcome(ends))
  }

  async #finish(phase: 'Succeeded' | 'Failed'): Promise<void> {
    await this.#stopSidecars(this.context.graceMs)
    this.#final = phase
    this.context.changed()
  }

  /** FailedMount until every volume can be set up; false when stopped first. */
  async #mountable(): Promise<boolean> {
    const { pod, volumes, backoffMs } = this.context
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      let failed = false
      for (const volume of pod.spec.volumes ?? []) {
        try {
          checkVolume(pod, volume, volumes)
        } catch (error) {
          if (!(error instanceof MountError)) throw error
          failed = true
          this.context.event(
            'Warning',
            'FailedMount',
            `MountVolume.SetUp failed for volume "${volume.name}" : ${error.message}`,
          )
        }
      }
      if (!failed) return true
      await this.context.configChanged((backoffMs / 2) * 2 ** Math.min(failures, 6), this.#stop.signal)
    }
    return false
  }

  /** In reverse order, once the others are done; they share what is left of the grace period. */
  async #stopSidecars(graceMs: number): Promise<void> {
    const deadline = Date.now() + graceMs
    for (const sidecar of this.#of('sidecar').reverse()) await sidecar.stop(Math.max(0, deadline - Date.now()))
  }

  /** SIGTERM to the containers, SIGKILL after the grace period; resolves when nothing of the pod runs. */
  async terminate(graceMs: number): Promise<void> {
    this.#stop.abort()
    const deadline = Date.now() + graceMs
    await Promise.all(this.containers.filter(c => c.kind !== 'sidecar').map(c => c.stop(graceMs)))
    await this.#stopSidecars(Math.max(0, deadline - Date.now()))
    await Promise.all([this.#done, ...this.#sidecars])
  }

  async removeFolder(): Promise<void> {
    await rm(this.context.folder, { recursive: true, force: true })
  }

  /** The pod's status as its kubelet would write it, over the old one. */
  status(old: PodStatus, startTime: string): PodStatus {
    const main = this.#of('main')
    const { podIP, hostIP } = this.context.address
    const phase =
      this.#final ??
      (this.#initialized && main.every(c => c.state.waiting === undefined || c.lastState.terminated)
        ? 'Running'
        : 'Pending')
    const unready = this.containers.filter(c => c.kind !== 'init' && !c.ready).map(c => c.spec.name)
    const incomplete = this.containers.filter(
      c =>
        (c.kind === 'init' && c.state.terminated?.exitCode !== 0) ||
        (c.kind === 'sidecar' && !c.started && !this.#initialized),
    )
    const failing = `containers with unready status: [${unready.join(' ')}]`
    const ready = this.#final === undefined && unready.length === 0
    const no = {
      status: 'False',
      ...(this.#final === 'Succeeded'
        ? { reason: 'PodCompleted' }
        : { reason: 'ContainersNotReady', message: failing }),
    } as const
    const next: Condition[] = [
      { type: 'PodReadyToStartContainers', status: this.#final ? 'False' : 'True' },
      this.#initialized || this.#final === 'Succeeded'
        ? { type: 'Initialized', status: 'True' }
        : {
            type: 'Initialized',
            status: 'False',
            reason: 'ContainersNotInitialized',
            message: `containers with incomplete status: [${incomplete.map(c => c.spec.name).join(' ')}]`,
          },
      { type: 'Ready', ...(ready ? { status: 'True' as const } : no) },
      { type: 'ContainersReady', ...(ready ? { status: 'True' as const } : no) },
    ]
    const statuses = (kinds: readonly ContainerKind[]) =>
      this.containers.filter(c => kinds.includes(c.kind)).map(c => c.status)
    return {
      ...old,
      ...{ phase, podIP, hostIP, podIPs: [{ ip: podIP }], startTime },
      conditions: next.reduce<Condition[]>((list, c) => withCondition(list, c), old.conditions ?? []),
      ...(this.containers.length > main.length ? { initContainerStatuses: statuses(['init', 'sidecar']) } : {}),
      containerStatuses: statuses(['main']),
    }
  }
}

const outcome = (ends: readonly (Terminated | undefined)[]): 'Succeeded' | 'Failed' =>
  ends.every(e => e?.exitCode === 0) ? 'Succeeded' : 'Failed'

export const podTitle = (pod: Pod): string => `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`
