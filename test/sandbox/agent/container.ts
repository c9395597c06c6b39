import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { ContainerSpec, ContainerState, ContainerStatus, Terminated } from '../controllers/objects.ts'
import { now, quantity } from '../controllers/objects.ts'
import type { ExecIo } from '../runtime.ts'
import { ConfigError, containerEnv, expand, pathRewriter } from './environment.ts'
import { join, type Live } from './exec.ts'
import { imageId, pullImage } from './images.ts'
import { ContainerLog } from './log.ts'
import type { PodContext } from './node.ts'
import { pause, runProbes } from './probes.ts'
import type { Running } from './process.ts'
import { layOut } from './volumes.ts'

const projectRoot = path.join(import.meta.dirname, '..', '..', '..')

export type ContainerKind = 'init' | 'sidecar' | 'main'

/** One container of a pod through all its restarts. */
export class Container {
  readonly spec: ContainerSpec
  readonly kind: ContainerKind
  state: ContainerState
  lastState: ContainerState = {}
  restarts = 0
  ready = false
  started = false
  log: ContainerLog | undefined
  previousLog: ContainerLog | undefined
  readonly #pod: PodContext
  readonly #stop = new AbortController()
  readonly #begun = Promise.withResolvers<void>()
  #live: Live | undefined
  #id: string | undefined
  #crashes = 0

  constructor(pod: PodContext, spec: ContainerSpec, kind: ContainerKind, waits: boolean) {
    this.#pod = pod
    this.spec = spec
    this.kind = kind
    this.state = { waiting: { reason: waits ? 'PodInitializing' : 'ContainerCreating' } }
  }

  /** Resolves when it has started for the first time: it runs, and its startup probe has passed. */
  get begun(): Promise<void> {
    return this.#begun.promise
  }

  get status(): ContainerStatus {
    const seen = this.#id !== undefined
    return {
      ...{
        name: this.spec.name,
        state: this.state,
        lastState: this.lastState,
        ready: this.ready,
        restartCount: this.restarts,
      },
      ...{ image: this.spec.image, imageID: seen ? imageId(this.spec.image) : '', started: this.started },
      ...(this.#id ? { containerID: this.#id } : {}),
    }
  }

  /** Runs until the restart policy is satisfied or `stop` was called. Undefined when it never ran. */
  async run(policy: 'Always' | 'OnFailure' | 'Never'): Promise<Terminated | undefined> {
    for (;;) {
      const end = await this.#once()
      if (end === undefined || this.#stop.signal.aborted) return this.state.terminated
      if (policy === 'Never' || (policy === 'OnFailure' && end.exitCode === 0)) return end
      // The first restart is immediate; a real back-off then starts at 10 s and doubles to 5 min.
      if (this.#crashes > 0) {
        const wait = Math.min(this.#pod.backoffMs * 2 ** (this.#crashes - 1), 30_000)
        const where = `container=${this.spec.name} pod=${this.#pod.title}`
        this.#set({
          waiting: {
            reason: 'CrashLoopBackOff',
            message: `back-off ${Math.max(1, Math.round(wait / 1000))}s restarting failed ${where}`,
          },
        })
        this.#tell(
          'Warning',
          'BackOff',
          `Back-off restarting failed container ${this.spec.name} in pod ${this.#pod.title}`,
        )
        await pause(wait, this.#stop.signal)
        if (this.#stop.signal.aborted) return this.lastState.terminated
      }
      this.#crashes++
      this.restarts++
    }
  }

  /** SIGTERM, and SIGKILL when the time is over. */
  async stop(graceMs: number): Promise<void> {
    this.#stop.abort()
    if (this.#live === undefined) return
    this.#tell('Normal', 'Killing', `Stopping container ${this.spec.name}`)
    await this.#end(this.#live, graceMs)
  }

  async #end(live: Live, graceMs: number): Promise<void> {
    live.running.terminate()
    const cancel = new AbortController()
    await Promise.race([live.running.ended, pause(graceMs, cancel.signal)])
    cancel.abort()
    live.running.kill()
    await live.running.ended
  }

  #tell(type: 'Normal' | 'Warning', reason: string, message: string): void {
    const list = this.kind === 'main' ? 'containers' : 'initContainers'
    this.#pod.event(type, reason, message, `spec.${list}{${this.spec.name}}`)
  }

  #set(state: ContainerState): void {
    if (this.state.terminated) this.lastState = { terminated: this.state.terminated }
    this.state = state
    this.#pod.changed()
  }

  /** From image to exit code; undefined when stopped before it ran. */
  async #once(): Promise<Terminated | undefined> {
    const signal = this.#stop.signal
    const told = { event: this.#tell.bind(this), state: this.#set.bind(this) }
    if (!(await pullImage(this.#pod, this.spec, told, signal))) return undefined
    const env = await this.#environment(signal)
    if (env === undefined) return undefined
    const pod = this.#pod
    const root = path.join(pod.folder, `${this.spec.name}.${this.restarts}`)
    const home = env.HOME ?? '/root'
    const own = [home, ...(this.spec.workingDir ? [this.spec.workingDir] : [])]
    await mkdir(root, { recursive: true })
    const mounts = await layOut(root, pod.pod, this.spec, own, pod.folder, pod.volumes)
    // Paths that are this machine's already stay as they are.
    // What is on this machine and not of the container stays, also when it lies below /tmp: the doubles and their node.
    const outside = [pod.node.workDir, projectRoot, path.dirname(process.execPath)]
    const rewrite = pathRewriter(new Map([...mounts, ...outside.map(folder => [folder, folder] as const)]))
    const full = { ...env }
    for (const name of Object.keys(full)) if (!(name in pod.baseEnv)) full[name] = rewrite(full[name]!)
    full.HOME = home === '/' ? root : rewrite(home)
    full.TMPDIR ??= path.join(root, 'tmp')
    if (mounts.has('/var/run/secrets/kubernetes.io/serviceaccount')) {
      full.SANDBOX_TOKEN_FILE = path.join(root, '/var/run/secrets/kubernetes.io/serviceaccount/token')
    }
    await pause(pod.node.delays.containerStart(pod.pod, this.spec.name), signal)
    if (signal.aborted) return undefined
    this.#id = `sandbox://${randomBytes(32).toString('hex')}`
    this.#tell('Normal', 'Created', `Created container: ${this.spec.name}`)
    if (this.log) this.previousLog = this.log
    const log = new ContainerLog()
    this.log = log
    let running: Running
    try {
      const argv = this.#argv(env, rewrite)
      const cwd = path.join(root, this.spec.workingDir ?? '')
      running = await pod.node.processes.start(argv, { cwd, env: full, stdin: false })
    } catch (error) {
      return this.#startFailed((error as NodeJS.ErrnoException).code, (error as Error).message, log)
    }
    running.stdout.on('data', (chunk: Buffer) => log.write('stdout', chunk))
    running.stderr.on('data', (chunk: Buffer) => log.write('stderr', chunk))
    return this.#watch({ running, root, env: full, rewrite, joined: new Set() }, log)
  }

  async #watch(live: Live, log: ContainerLog): Promise<Terminated> {
    const startedAt = now()
    this.#live = live
    let killed = false
    this.#set({ running: { startedAt } })
    this.#tell('Normal', 'Started', `Started container ${this.spec.name}`)
    const probing = new AbortController()
    this.#probe(probing.signal, () => {
      killed = true
      void this.#end(live, this.#pod.graceMs)
    })
    if (this.#stop.signal.aborted) live.running.kill()
    const exit = await live.running.ended
    probing.abort()
    for (const joined of live.joined) joined.kill()
    this.#live = undefined
    log.end()
    // Only the kernel sends SIGKILL out of nowhere: the container went over its memory limit.
    const starved =
      exit.signal === 'SIGKILL' &&
      !killed &&
      !this.#stop.signal.aborted &&
      quantity(this.spec.resources?.limits?.memory) > 0
    const reason = starved ? 'OOMKilled' : exit.code === 0 ? 'Completed' : 'Error'
    const end: Terminated = { exitCode: exit.code, reason, startedAt, finishedAt: now(), containerID: this.#id ?? '' }
    this.ready = this.kind === 'init' && exit.code === 0
    this.started = false
    this.#set({ terminated: end })
    return end
  }

  #startFailed(code: string | undefined, text: string, log: ContainerLog): Terminated {
    const program = this.spec.command?.[0] ?? this.spec.image
    const why =
      code === 'ENOENT'
        ? `exec: "${program}": executable file not found in $PATH`
        : code === 'EACCES'
          ? `exec: "${program}": permission denied`
          : text
    const message = `failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to start container process: ${why}: unknown`
    log.end()
    this.#tell('Warning', 'Failed', `Error: ${message}`)
    const end = {
      exitCode: 128,
      reason: 'StartError',
      message,
      startedAt: null,
      finishedAt: now(),
      containerID: this.#id ?? '',
    }
    this.#set({ terminated: end })
    return end
  }

  #probe(signal: AbortSignal, kill: () => void): void {
    const pod = this.#pod
    runProbes(
      {
        ...{ container: this.spec, address: pod.address.podIP, startedAt: Date.now() },
        exec: async (argv, timeoutMs) => {
          let output = ''
          const add = (chunk: Uint8Array) => {
            output += Buffer.from(chunk).toString('utf8')
            return undefined
          }
          const code = await this.exec(argv, {
            stdout: add,
            stderr: add,
            tty: false,
            signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
          })
          return { code, output }
        },
        onStarted: () => {
          this.started = true
          this.#begun.resolve()
          pod.changed()
        },
        onReady: ready => {
          this.ready = ready
          pod.changed()
        },
        onFailure: (kind, why) =>
          this.#tell('Warning', 'Unhealthy', `${kind[0]?.toUpperCase()}${kind.slice(1)} probe failed: ${why}`),
        onDead: kind => {
          this.#tell('Normal', 'Killing', `Container ${this.spec.name} failed ${kind} probe, will be restarted`)
          kill()
        },
      },
      pod.node.speed,
      signal,
    )
  }

  /** The container's variables, as soon as everything that they refer to exists. */
  async #environment(signal: AbortSignal): Promise<Record<string, string> | undefined> {
    const pod = this.#pod
    while (!signal.aborted) {
      try {
        return containerEnv(pod.pod, this.spec, pod.baseEnv, pod.volumes.lookup, pod.address)
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        this.#tell('Warning', 'Failed', `Error: ${error.message}`)
        this.#set({ waiting: { reason: 'CreateContainerConfigError', message: error.message } })
        await pod.configChanged(pod.backoffMs, signal)
      }
    }
    return undefined
  }

  #argv(env: Readonly<Record<string, string>>, rewrite: (text: string) => string): string[] {
    const { node } = this.#pod
    if (node.images.faultOf(this.spec.image)?.kind === 'crash') {
      return ['/bin/sh', '-c', 'echo "starting"; echo "fatal: this image crashes" >&2; exit 1']
    }
    const own = (words: readonly string[] = []) => words.map(word => rewrite(expand(word, env)))
    if (this.spec.command?.length) return node.locate([...own(this.spec.command), ...own(this.spec.args)])
    const entrypoint = node.entrypoint(this.spec.image)
    if (entrypoint === undefined)
      throw new Error(`no entry point is known for image ${this.spec.image}, and the pod has no command`)
    return node.locate([...entrypoint, ...own(this.spec.args)])
  }

  get running(): boolean {
    return this.#live !== undefined
  }

  /** Runs a command next to the container's process; 137 when that has ended. */
  async exec(argv: readonly string[], io: ExecIo): Promise<number> {
    return this.#live === undefined ? 137 : join(this.#live, this.#pod.node, argv, io)
  }
}
