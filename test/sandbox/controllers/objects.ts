import type { KubeMeta, KubeObject } from '../../../src/stack/kube.ts'

/** The parts of Kubernetes objects that the sandbox's controllers and node agent read and write. */
export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string
  message?: string
  lastTransitionTime?: string
  lastUpdateTime?: string
  lastProbeTime?: string | null
  observedGeneration?: number
}

export interface KeyRef {
  name: string
  key: string
  optional?: boolean
}
export interface EnvVar {
  name: string
  value?: string
  valueFrom?: {
    fieldRef?: { fieldPath: string }
    resourceFieldRef?: { resource: string; containerName?: string }
    secretKeyRef?: KeyRef
    configMapKeyRef?: KeyRef
  }
}
export interface EnvFrom {
  prefix?: string
  configMapRef?: { name: string; optional?: boolean }
  secretRef?: { name: string; optional?: boolean }
}

export interface Probe {
  httpGet?: {
    path?: string
    port: number | string
    host?: string
    scheme?: string
    httpHeaders?: { name: string; value: string }[]
  }
  tcpSocket?: { port: number | string; host?: string }
  exec?: { command: string[] }
  grpc?: { port: number; service?: string }
  initialDelaySeconds?: number
  periodSeconds?: number
  timeoutSeconds?: number
  successThreshold?: number
  failureThreshold?: number
}

export interface ContainerSpec {
  name: string
  image: string
  imagePullPolicy?: string
  command?: string[]
  args?: string[]
  workingDir?: string
  env?: EnvVar[]
  envFrom?: EnvFrom[]
  ports?: { name?: string; containerPort: number; protocol?: string }[]
  resources?: { requests?: Record<string, string | number>; limits?: Record<string, string | number> }
  volumeMounts?: { name: string; mountPath: string; subPath?: string; readOnly?: boolean }[]
  startupProbe?: Probe
  readinessProbe?: Probe
  livenessProbe?: Probe
  restartPolicy?: 'Always'
}

export interface Items {
  items?: { key: string; path: string; mode?: number }[]
  optional?: boolean
}
export interface DownwardItems {
  items?: { path: string; fieldRef?: { fieldPath: string } }[]
}
export interface VolumeSource {
  emptyDir?: Record<string, unknown>
  configMap?: Items & { name: string; defaultMode?: number }
  secret?: Items & { secretName: string; defaultMode?: number }
  persistentVolumeClaim?: { claimName: string; readOnly?: boolean }
  downwardAPI?: DownwardItems
  projected?: {
    defaultMode?: number
    sources?: {
      configMap?: Items & { name: string }
      secret?: Items & { name: string }
      downwardAPI?: DownwardItems
      serviceAccountToken?: { path: string }
    }[]
  }
}
export type Volume = VolumeSource & { name: string }

export interface NodeTerm {
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}
export interface PodSpec {
  nodeName?: string
  nodeSelector?: Record<string, string>
  affinity?: {
    nodeAffinity?: {
      requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms: NodeTerm[] }
      preferredDuringSchedulingIgnoredDuringExecution?: { weight: number; preference: NodeTerm }[]
    }
  }
  tolerations?: { key?: string; operator?: string; value?: string; effect?: string }[]
  initContainers?: ContainerSpec[]
  containers: ContainerSpec[]
  volumes?: Volume[]
  restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  serviceAccountName?: string
  automountServiceAccountToken?: boolean
  terminationGracePeriodSeconds?: number
  schedulingGates?: { name: string }[]
  hostname?: string
}

export interface Terminated {
  exitCode: number
  signal?: number
  reason: string
  message?: string
  startedAt: string | null
  finishedAt: string | null
  containerID?: string
}
export interface ContainerState {
  waiting?: { reason: string; message?: string }
  running?: { startedAt: string }
  terminated?: Terminated
}
export interface ContainerStatus {
  name: string
  state: ContainerState
  lastState: ContainerState
  ready: boolean
  restartCount: number
  image: string
  imageID: string
  containerID?: string
  started: boolean
}
export interface PodStatus {
  phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed'
  conditions?: Condition[]
  podIP?: string
  podIPs?: { ip: string }[]
  hostIP?: string
  startTime?: string
  initContainerStatuses?: ContainerStatus[]
  containerStatuses?: ContainerStatus[]
}
export type Pod = KubeObject & { spec: PodSpec; status?: PodStatus }

export interface PodTemplate {
  metadata?: Partial<KubeMeta>
  spec: PodSpec
}
export interface Selector {
  matchLabels?: Record<string, string>
}

export const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`
export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** True when every pair of `wanted` is in `labels`. */
export const matches = (
  labels: Readonly<Record<string, string>> | undefined,
  wanted: Readonly<Record<string, string>>,
): boolean => Object.entries(wanted).every(([key, value]) => labels?.[key] === value)

/** The owner that manages the object, if any. */
export const controllerOf = (object: KubeObject) => object.metadata.ownerReferences?.find(o => o.controller === true)

export const finished = (pod: Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'

export const isReady = (pod: Pod): boolean =>
  pod.status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') === true

/** `conditions` with one replaced; its transition time moves only when its status changes. */
export function withCondition(conditions: readonly Condition[] | undefined, next: Condition): Condition[] {
  const before = conditions?.find(c => c.type === next.type)
  const lastTransitionTime = before?.status === next.status ? before.lastTransitionTime : now()
  const others = (conditions ?? []).filter(c => c.type !== next.type)
  return [...others, { ...next, ...(lastTransitionTime === undefined ? {} : { lastTransitionTime }) }].sort((a, b) =>
    a.type.localeCompare(b.type),
  )
}

const units: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
}
/** A Kubernetes quantity (`500m`, `64Gi`, `1Ti`) as a number of cores, bytes or devices. */
export function quantity(text: string | number | undefined): number {
  const match = /^([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)([A-Za-z]*)$/.exec(String(text ?? '0'))
  const unit = units[match?.[2] ?? '']
  if (!match || unit === undefined) throw new Error(`not a quantity: ${text}`)
  return Number(match[1]) * unit
}

/** What a pod asks of its node: sidecars add to the sum of the containers, other init containers only to the maximum. */
export function requests(spec: PodSpec): Record<string, number> {
  const ask = (c: ContainerSpec): Record<string, number> => {
    const all = { ...c.resources?.limits, ...c.resources?.requests }
    return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, quantity(value)]))
  }
  const add = (a: Record<string, number>, b: Record<string, number>, how: (x: number, y: number) => number) => {
    const sum = { ...a }
    for (const [name, value] of Object.entries(b)) sum[name] = how(sum[name] ?? 0, value)
    return sum
  }
  const plus = (x: number, y: number) => x + y
  const sidecars = (spec.initContainers ?? []).filter(c => c.restartPolicy === 'Always').map(ask)
  const steady = [...spec.containers.map(ask), ...sidecars].reduce((sum, r) => add(sum, r, plus), {})
  return (spec.initContainers ?? [])
    .filter(c => c.restartPolicy !== 'Always')
    .map(ask)
    .reduce((sum, r) => add(sum, r, Math.max), steady)
}
