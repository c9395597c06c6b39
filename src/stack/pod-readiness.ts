import type { FailureCode } from '../errors.ts'
import {
  type ContainerStatus,
  containerTrouble,
  outOfMemory,
  type PodCause,
  type PodState,
  trouble,
} from './container-trouble.ts'
import { conditionsOf, eventsOf, quoted, records, timesSeen } from './foreign.ts'
import type { KubeObject } from './kube.ts'
import type { Readiness } from './spec.ts'

interface PodStatus {
  readonly phase?: string
  readonly reason?: string
  readonly message?: string
}

/** A first failed mount may be a race with the object that was applied in the same moment. */
const mountFailuresThatCount = 3

/** What a pod waits for or fails of: computed from its status and events alone. */
export function podState(pod: KubeObject, events: readonly KubeObject[]): PodState {
  const status = (pod.status ?? {}) as PodStatus
  const name = pod.metadata.name
  const containers = containersOf(pod)
  const conditions = conditionsOf(pod.status)
  if (status.phase === 'Succeeded') return { state: 'ready' }
  if (status.phase === 'Failed') return ended(name, status, containers)
  if (conditions.some(c => c.type === 'Ready' && c.status === 'True')) return { state: 'ready' }
  const scheduled = conditions.find(c => c.type === 'PodScheduled')
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable')
    return unschedulable(pod, scheduled.message)
  for (const container of containers) {
    const verdict = containerTrouble(name, container, events)
    if (verdict !== undefined) return verdict
  }
  const mounts = eventsOf(events, 'Pod', name, ['FailedMount', 'FailedAttachVolume'])
  const started = containers.some(c => c.state?.running || c.state?.terminated)
  if (!started && timesSeen(mounts) >= mountFailuresThatCount) {
    return trouble(
      'mount',
      `pod ${name} cannot mount a volume: ${quoted(mounts.at(-1)?.message, 'no message')}`,
      'Check that the claim, ConfigMap or Secret exists and that the storage class can attach it to that node.',
      mounts.at(-1)?.message,
    )
  }
  return { state: 'waiting', why: waitingSentence(pod, started ? undefined : mounts.at(-1)) }
}

const containersOf = (pod: KubeObject): ContainerStatus[] => {
  const status = pod.status as { initContainerStatuses?: unknown; containerStatuses?: unknown } | undefined | null
  return [
    ...records<ContainerStatus>(status?.initContainerStatuses),
    ...records<ContainerStatus>(status?.containerStatuses),
  ]
}

function ended(name: string, status: PodStatus, containers: readonly ContainerStatus[]): PodState {
  const culprit = containers.find(c => (c.state?.terminated?.exitCode ?? 0) !== 0)
  const end = culprit?.state?.terminated
  if (end?.reason === 'OOMKilled') return outOfMemory(name, culprit?.name ?? '', culprit?.restartCount ?? 0)
  const how = end
    ? `container ${culprit?.name} ended with exit code ${end.exitCode}`
    : quoted(status.message, quoted(status.reason, 'no reason given'))
  return trouble(
    'ended',
    `pod ${name} failed: ${how}`,
    'Read the last lines of its log below.',
    status.message,
    end?.message,
  )
}

/**
 * No node fits. That may mend itself where nodes are added on demand, so the caller decides how long it waits; while a
 * volume is still being made it is no verdict at all.
 */
function unschedulable(pod: KubeObject, message: string | undefined): PodState {
  const { name } = pod.metadata
  const why = `pod ${name} cannot be scheduled: ${quoted(message, 'no node fits')}`
  if (/persistentvolumeclaim|volume node affinity|available persistent volumes/i.test(message ?? '')) {
    return { state: 'waiting', why }
  }
  const containers = records<{ resources?: { limits?: Record<string, string> } }>(
    (pod.spec as { containers?: unknown } | undefined | null)?.containers,
  )
  const wantsGpu = containers.some(c => Number(c.resources?.limits?.['nvidia.com/gpu']) > 0)
  const next = wantsGpu
    ? 'Free GPUs or lower `replicas`; check `accelerator`, `tolerations` and `node-selector` against the labels and taints of the nodes.'
    : 'It runs on CPU nodes: check their free CPU and memory, and `tolerations` and `node-selector` against their labels and taints.'
  return trouble('schedule', why, next, message)
}

function waitingSentence(pod: KubeObject, mount: KubeObject | undefined): string {
  const { name } = pod.metadata
  const scheduled = conditionsOf(pod.status).some(c => c.type === 'PodScheduled' && c.status === 'True')
  if (!scheduled) return `pod ${name} is not scheduled yet`
  if (mount !== undefined) return `pod ${name} waits for a volume: ${quoted(mount.message, 'no message')}`
  const containers = containersOf(pod)
  const stuck = containers.find(
    c => !['', 'PodInitializing', 'ContainerCreating'].includes(c.state?.waiting?.reason ?? ''),
  )
  if (stuck !== undefined) {
    const waiting = stuck.state?.waiting
    return `pod ${name}: container ${stuck.name} waits (${quoted(waiting?.reason, '')}: ${quoted(waiting?.message, 'no message')})`
  }
  const running = containers.find(c => c.state?.running && !c.ready)
  if (running !== undefined) return `pod ${name}: container ${running.name} runs and is not ready yet`
  return `pod ${name}: its containers are being created`
}

/** Where one looks when a pod of this role crashes. */
function codeOfRole(pod: KubeObject): FailureCode {
  const labels = pod.metadata.labels ?? {}
  if (labels['app.kubernetes.io/component'] === 'model-download') return 'MODEL_DOWNLOAD'
  if (labels.app === 'llmdbench-harness-launcher') return 'HARNESS'
  if (labels.inferencepool !== undefined || labels['gateway.networking.k8s.io/gateway-name'] !== undefined)
    return 'GATEWAY'
  return 'MODEL_LOAD'
}

/** The failure code of a pod's trouble. GPU_SHORTAGE stands for every pod that no node has room for. */
export const podCode = (pod: KubeObject, cause: PodCause): FailureCode =>
  cause === 'schedule' ? 'GPU_SHORTAGE' : cause === 'image' ? 'IMAGE_PULL' : codeOfRole(pod)

/** A pod's readiness with an early verdict. */
export function podVerdict(pod: KubeObject, events: readonly KubeObject[]): Readiness {
  const state = podState(pod, events)
  if (state.state !== 'failed') return state
  const { cause, ...rest } = state
  return { ...rest, code: podCode(pod, cause) }
}
