import type { HpaBehavior } from '../stack/components/autoscaling.ts'
import type { Images, ModelSource, PodPlacement } from '../stack/spec.ts'
import type { KubeconfigSource } from './kubeconfig.ts'
import type { EndpointInput, SettleInput } from './values.ts'

/** One thing that is wrong with the inputs of a call. */
export interface Problem {
  readonly input: string
  readonly what: string
  readonly why: string
  /** What to write instead. */
  readonly write: string
}

interface Common {
  readonly kubeconfig?: KubeconfigSource
  readonly context?: string
  readonly namespace: { readonly model: string; readonly harness: string }
  readonly model: string
  readonly workload: string
  readonly comment: 'auto' | 'never'
  readonly out?: string
  readonly dryRun: boolean
  readonly githubToken?: string
  readonly matrix?: unknown
  readonly strategy?: unknown
}
export interface StandupInputs extends Common {
  readonly mode: 'standup'
  readonly release: string
  readonly wellLitPath: string
  readonly wva: boolean
  readonly hfToken?: string
  readonly hfEndpoint?: string
  readonly replicas: number
  readonly maxReplicas: number
  readonly hpaBehavior: HpaBehavior
  readonly wvaNamespace: string
  readonly wvaVersion: string
  readonly serviceMonitorLabels: Readonly<Record<string, string>>
  readonly accelerator: 'auto' | { key: string; value: string }
  readonly placement: PodPlacement
  readonly images: Images
  readonly storageClass?: string
  readonly accessMode: string
  readonly modelCacheSize: string
  readonly modelSource: ModelSource
  readonly overrides: Readonly<Record<string, unknown>>
  readonly settleWindowMs: number
  readonly lock: 'wait' | 'fail'
  readonly lockTimeoutMs?: number
  readonly lifetime: 'job' | 'ttl'
  readonly ttlMs: number
  readonly timeouts: {
    readonly downloadMs: number
    readonly readyMs: number
    readonly gatesMs: number
    readonly scheduleMs: number
  }
  readonly keepOnFailure: 'none' | 'evidence' | 'all'
}
export interface RunInputs extends Common {
  readonly mode: 'run'
  readonly placement: PodPlacement
  readonly images: { readonly harness: string }
  readonly harnessResources: { readonly cpu: string; readonly memory: string }
  readonly workloadOverrides: Readonly<Record<string, unknown>>
  readonly repeats: number
  readonly parallelism: number
  readonly seed: number
  readonly endpoint: EndpointInput
  readonly settle: SettleInput
  readonly settleWindowMs: number
  readonly waitTimeoutMs?: number
  readonly slo: { readonly ttftMs: number; readonly tpotMs: number; readonly attainment: number }
  readonly keepOnFailure: 'none' | 'evidence' | 'all'
}
export interface TeardownInputs extends Common {
  readonly mode: 'teardown'
  readonly lock: 'wait' | 'fail' | 'force'
  readonly deep: boolean
  readonly purge: boolean
}
export type Inputs = StandupInputs | RunInputs | TeardownInputs
export type ParseResult = ({ readonly ok: Inputs } | { readonly problems: readonly Problem[] }) & {
  readonly secrets: readonly string[]
}
