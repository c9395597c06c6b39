import type { Autoscaling } from './components/autoscaling.ts'
import type { KubeObject } from './kube.ts'

/** Where the weights come from. */
export type ModelSource =
  | { readonly kind: 'pvc' }
  | { readonly kind: 'claim'; readonly claim: string; readonly path: string }
  | { readonly kind: 'hf' }

export interface Toleration {
  readonly key?: string
  readonly operator?: 'Exists' | 'Equal'
  readonly value?: string
  readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute'
  readonly tolerationSeconds?: number
}

export interface Images {
  readonly vllm: string
  readonly scheduler: string
  readonly sidecar: string
  readonly harness: string
}

/** What every pod that we make carries. */
export interface PodPlacement {
  readonly tolerations: readonly Toleration[]
  readonly nodeSelector: Readonly<Record<string, string>>
  readonly priorityClass?: string
  /** Kueue: label `kueue.x-k8s.io/queue-name`. */
  readonly queueName?: string
  readonly imagePullSecret?: string
}

/** Everything that decides what the stack's objects look like. Built from inputs and what preflight saw; no I/O after it. */
export interface StackSpec {
  readonly wellLitPath: string
  readonly namespace: string
  readonly harnessNamespace: string
  readonly release: string
  readonly model: string
  /** `modelLabel(namespace, model)`. */
  readonly label: string
  /** `<release>-<label>`: value of the ownership label. */
  readonly stack: string
  /** Under WVA the number at rest. */
  readonly replicas: number
  /** Present when the model stands under WVA. */
  readonly autoscaling?: Autoscaling & { readonly serviceMonitorLabels: Readonly<Record<string, string>> }
  /** GPUs of one replica. */
  readonly gpusPerReplica: number
  /** Label of the GPU nodes; undefined leaves scheduling to the GPU resource alone. */
  readonly accelerator?: { readonly key: string; readonly value: string }
  /** True when every node has GPUs: only then may helper pods run on GPU nodes. */
  readonly gpuNodesOnly?: boolean
  /** OpenShift gives every namespace its own range of user ids and refuses pods that name one. */
  readonly openShift?: boolean
  readonly images: Images
  readonly placement: PodPlacement
  readonly source: ModelSource
  readonly storage: { readonly className?: string; readonly accessMode: string; readonly size: string }
  /** Present only when a token was given; never written to a plan. */
  readonly hfToken?: string
  /** True when the hub says that the model needs the token. */
  readonly gated: boolean
  readonly hfEndpoint?: string
  readonly downloadTimeoutSeconds: number
  /** The well-lit path's own settings, after `overrides`. */
  readonly settings: PathSettings
  /** Short hash of `settings`: part of a leg's identity. */
  readonly settingsHash: string
}

/** What a well-lit path decides. `overrides` (YAML) patches this, key by key; unknown keys are refused. */
export interface PathSettings {
  readonly maxModelLen: number
  readonly blockSize: number
  readonly gpuMemoryUtilization: number
  readonly tensorParallel: number
  readonly cpu: string
  readonly memory: string
  readonly shm: string
  readonly extraArgs: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly startupProbe: {
    readonly initialDelaySeconds: number
    readonly periodSeconds: number
    readonly failureThreshold: number
  }
  readonly gateway: { readonly className: string; readonly serviceType: string }
  readonly scheduler: { readonly pluginsFile: string; readonly plugins: string }
  readonly harness: { readonly cpu: string; readonly memory: string }
}

/** One part of the stack: the objects it is made of, all applied at once. Order inside matters only for the inventory. */
export interface Component {
  readonly id: string
  readonly objects: (spec: StackSpec) => readonly KubeObject[]
}

/** A verdict over one live object (or a set), with the sentence that a user sees while waiting and when it fails. */
export type Readiness =
  | { readonly state: 'ready' }
  | { readonly state: 'waiting'; readonly why: string }
  | {
      readonly state: 'failed'
      readonly why: string
      readonly code: import('../errors.ts').FailureCode
      readonly next: string
      /** What the cluster said, in full: foreign text. `why` quotes it in one bounded line. */
      readonly evidence?: readonly string[]
    }
