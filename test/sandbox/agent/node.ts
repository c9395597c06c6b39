import { existsSync } from 'node:fs'
import path from 'node:path'
import type { EventDetail } from '../controllers/cluster.ts'
import type { Pod } from '../controllers/objects.ts'
import type { Images } from './images.ts'
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

/** `NodeServices.locate` for programs in `folders`. */
export function locator(folders: readonly string[]): (argv: readonly string[]) => string[] {
  return ([program = '', ...rest]) => {
    const known = !path.isAbsolute(program) || existsSync(program)
    const double = known ? undefined : folders.map(f => path.join(f, path.basename(program))).find(f => existsSync(f))
    return [double ?? program, ...rest]
  }
}
