import { existsSync } from 'node:fs'
import path from 'node:path'
import type { EventDetail } from '../controllers/cluster.ts'
import type { Pod } from '../controllers/objects.ts'
import { pause } from './probes.ts'
import type { Processes } from './process.ts'
import type { VolumeContext } from './volumes.ts'

/** Milliseconds; may depend on the pod and the image or container. */
export interface NodeDelays {
  imagePull(pod: Pod, image: string): number
  containerStart(pod: Pod, container: string): number
}

/** What the nodes of one sandbox share. */
export interface NodeServices {
  readonly workDir: string
  readonly processes: Processes
  readonly images: Images
  readonly delays: NodeDelays
  /** Probe periods and back-offs are divided by it. */
  readonly speed: number
  /** What an image runs when the pod names no command. */
  entrypoint(image: string): readonly string[] | undefined
  /** Replaces an absolute program path of an image that this machine does not have by the double of that name. */
  locate(argv: readonly string[]): string[]
}

/** What one pod's containers need to know of it. */
export interface PodContext {
  readonly node: NodeServices
  readonly pod: Pod
  /** As the kubelet names it in messages: `name_namespace(uid)`. */
  readonly title: string
  readonly folder: string
  readonly address: { podIP: string; hostIP: string }
  /** Variables that are this machine's, not the container's: their paths are never rewritten. */
  readonly baseEnv: Readonly<Record<string, string>>
  readonly volumes: VolumeContext
  readonly backoffMs: number
  readonly graceMs: number
  changed(): void
  /** Reports a bug of the sandbox itself. */
  problem(error: unknown): void
  event(type: EventDetail['type'], reason: string, message: string, fieldPath?: string): void
  /** Resolves when a ConfigMap, Secret or claim of the namespace changed, or after the time. */
  configChanged(ms: number, signal: AbortSignal): Promise<void>
}

export interface ImageFault {
  /** A text is looked for in the image reference. */
  match: RegExp | string
  /** `missing` cannot be pulled; `crash` ends with exit code 1 after two lines. */
  kind: 'missing' | 'crash'
  /** What the registry says, instead of `<image>: not found`. */
  message?: string
}

/** Which images are on which node, and which ones are broken. */
export class Images {
  /** May be changed while pods run: a pull that failed is tried again. */
  readonly faults: ImageFault[] = [
    { match: /:missing$/, kind: 'missing' },
    { match: /:crash$/, kind: 'crash' },
  ]
  readonly #delay: NodeDelays['imagePull']
  readonly #onNode = new Map<string, Promise<void>>()

  constructor(delay: NodeDelays['imagePull']) {
    this.#delay = delay
  }
  faultOf(image: string): ImageFault | undefined {
    return this.faults.findLast(f => (typeof f.match === 'string' ? image.includes(f.match) : f.match.test(image)))
  }
  present(pod: Pod, image: string): boolean {
    return this.#onNode.has(`${pod.spec.nodeName} ${image} done`)
  }
  /** One download per node and image, whoever asks first; layers that are there are not fetched again. */
  async pull(pod: Pod, image: string, signal: AbortSignal): Promise<void> {
    const key = `${pod.spec.nodeName} ${image}`
    const known = this.#onNode.get(key) ?? pause(this.#delay(pod, image), new AbortController().signal)
    this.#onNode.set(key, known)
    await Promise.race([known, new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))])
    if (signal.aborted) return
    if (this.faultOf(image)?.kind === 'missing') this.#onNode.delete(key)
    else this.#onNode.set(`${key} done`, known)
  }
}

/** `NodeServices.locate` for programs in `folders`. */
export function locator(folders: readonly string[]): (argv: readonly string[]) => string[] {
  return ([program = '', ...rest]) => {
    const known = !path.isAbsolute(program) || existsSync(program)
    const double = known ? undefined : folders.map(f => path.join(f, path.basename(program))).find(f => existsSync(f))
    return [double ?? program, ...rest]
  }
}
