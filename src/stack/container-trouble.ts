import { eventsOf, quoted, timesSeen } from './foreign.ts'
import type { KubeObject } from './kube.ts'

interface Terminated {
  readonly exitCode?: number
  readonly reason?: string
  readonly message?: string
}
export interface ContainerStatus {
  readonly name: string
  readonly ready?: boolean
  readonly restartCount?: number
  readonly state?: { waiting?: { reason?: string; message?: string }; running?: unknown; terminated?: Terminated }
  readonly lastState?: { terminated?: Terminated }
}
/** What keeps a pod from running, by where one would look. */
export type PodCause = 'schedule' | 'image' | 'config' | 'crash' | 'mount' | 'ended'
export type PodState =
  | { readonly state: 'ready' }
  | { readonly state: 'waiting'; readonly why: string }
  | {
      readonly state: 'failed'
      readonly cause: PodCause
      readonly why: string
      readonly next: string
      readonly evidence: readonly string[]
    }

const configReasons = ['CreateContainerConfigError', 'CreateContainerError', 'RunContainerError']
/** A second crash is a pattern, one may be a race with a dependency. */
const crashesThatCount = 2
/** A missing Secret may be a race with one that was applied in the same moment. */
const missingRefsThatCount = 2
/** A pull that failed for a reason that time mends is given this many attempts. */
const transientPullsThatCount = 3
const transientPull =
  /too ?many ?requests|\b429\b|\b50[0234]\b|time-?out|timed out|deadline exceeded|connection (?:refused|reset)|temporary failure|no such host|unexpected EOF|TLS handshake/i

export const trouble = (cause: PodCause, why: string, next: string, ...evidence: unknown[]): PodState => ({
  state: 'failed',
  cause,
  why,
  next,
  evidence: evidence.filter(e => typeof e === 'string' && e !== '') as string[],
})

export const outOfMemory = (pod: string, container: string, restarts: number): PodState =>
  trouble(
    'crash',
    `container ${container} of pod ${pod} was killed for lack of memory (OOMKilled), ${restarts} restarts`,
    'Raise `memory` in the input overrides, or use a node with more memory.',
  )

/** What is wrong with one container of a pod, if anything. */
export function containerTrouble(pod: string, c: ContainerStatus, events: readonly KubeObject[]): PodState | undefined {
  const reason = c.state?.waiting?.reason ?? ''
  const message = c.state?.waiting?.message
  const image = imageTrouble(pod, c, events)
  if (image !== undefined) return image
  if (configReasons.includes(reason)) {
    const missing = /\b(?:secret|configmap)\b.* not found|couldn't find key/i.test(message ?? '')
    const seen = timesSeen(eventsOf(events, 'Pod', pod, ['Failed']))
    if (missing && seen < missingRefsThatCount) return undefined
    return trouble(
      'config',
      `container ${c.name} of pod ${pod} cannot be created: ${quoted(message, reason)}`,
      missing
        ? 'Check that the Secret or ConfigMap it refers to exists in the namespace, with that key.'
        : 'Compare what it says with the pod in plan.yaml; a policy of the cluster or the image may not allow it.',
      message,
    )
  }
  const last = c.lastState?.terminated ?? c.state?.terminated
  const restarts = c.restartCount ?? 0
  const crashed = !c.ready && restarts >= crashesThatCount && last !== undefined && last.exitCode !== 0
  if (!crashed && !(reason === 'CrashLoopBackOff' && restarts >= 1)) return undefined
  if (last?.reason === 'OOMKilled') return outOfMemory(pod, c.name, restarts)
  return trouble(
    'crash',
    `container ${c.name} of pod ${pod} crashes (exit code ${last?.exitCode ?? 'unknown'}), ${restarts} restarts`,
    'Read its last lines below: a wrong argument, missing weights, or a GPU that is in use.',
    last?.message,
    message,
  )
}

/**
 * ErrImagePull alone is one failed attempt: it counts when it repeats. ImagePullBackOff follows it and ends the wait, but
 * for a cause that time mends (a registry that is busy or out of reach), which gets three attempts.
 */
function imageTrouble(pod: string, c: ContainerStatus, events: readonly KubeObject[]): PodState | undefined {
  const reason = c.state?.waiting?.reason ?? ''
  const message = c.state?.waiting?.message
  if (!['ErrImagePull', 'ImagePullBackOff', 'InvalidImageName', 'ErrImageNeverPull'].includes(reason)) return undefined
  const pulls = eventsOf(events, 'Pod', pod, ['Failed']).filter(e => /failed to pull/i.test(String(e.message)))
  const cause = [message, ...pulls.map(e => e.message)].join(' ')
  const attempts = timesSeen(pulls)
  const mends = transientPull.test(cause)
  if (reason === 'ErrImagePull' && attempts < (mends ? transientPullsThatCount : 2)) return undefined
  if (reason === 'ImagePullBackOff' && mends && attempts < transientPullsThatCount) return undefined
  return trouble(
    'image',
    `pod ${pod} cannot pull the image of container ${c.name}: ${quoted(pulls.at(-1)?.message, quoted(message, reason))}`,
    'Check the image reference and tag; for a private registry set `image-pull-secret`, for a mirror `image-registry`.',
    message,
    pulls.at(-1)?.message,
  )
}
