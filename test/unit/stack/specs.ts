import { buildSpec, type StackFacts, type StackRequest } from '../../../src/paths/build.ts'
import { chartBehavior } from '../../../src/stack/components/autoscaling.ts'
import { inventory, type StandupRun } from '../../../src/stack/inventory.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import type { StackSpec } from '../../../src/stack/spec.ts'
import { stackObjects } from '../../../src/stack/stack.ts'

export const hfToken = 'hf_canary0123456789'

const request: StackRequest = {
  namespace: { model: 'llm-d-vezio', harness: 'llm-d-vezio' },
  release: 'llmdbench',
  model: 'meta-llama/Llama-3.1-8B',
  wellLitPath: 'inference-scheduling',
  replicas: 2,
  wva: false,
  maxReplicas: 10,
  hpaBehavior: chartBehavior,
  wvaNamespace: 'llm-d-autoscaler',
  wvaVersion: '0.4.2',
  serviceMonitorLabels: {},
  images: {
    vllm: 'ghcr.io/llm-d/llm-d-cuda:v0.4.0',
    scheduler: 'ghcr.io/llm-d/llm-d-inference-scheduler:v0.4.0',
    sidecar: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0',
    harness: 'ghcr.io/llm-d/llm-d-benchmark:v0.4.0',
  },
  placement: { tolerations: [], nodeSelector: {} },
  modelSource: { kind: 'pvc' },
  accessMode: 'ReadWriteMany',
  modelCacheSize: '1Ti',
  hfToken,
  overrides: {},
  timeouts: { downloadMs: 40 * 60_000 },
}
const facts: StackFacts = {
  accelerator: { key: 'nvidia.com/gpu.product', value: 'NVIDIA-H100-80GB-HBM3' },
  storageClass: 'ocs-storagecluster-cephfs',
  gated: true,
}

/** The default stack: gated Llama on H100, weights on a volume, with a token. */
export const specWith = (changes: Partial<StackRequest> = {}, seen: Partial<StackFacts> = {}): StackSpec =>
  buildSpec({ ...request, ...changes }, { ...facts, ...seen })

export const standupRun: StandupRun = {
  run: '1234567890',
  attempt: 1,
  commit: 'a'.repeat(40),
  expiresEpochSeconds: 1_800_000_000,
  holder: 'llm-d/llm-d/1234567890/baseline',
  createdNamespace: false,
  leg: 'baseline',
  lifetime: 'job',
}

/** Everything that standup applies, in its order. */
export const planOf = (spec: StackSpec): KubeObject[] => {
  const objects = stackObjects(spec)
  return [inventory(spec, objects, standupRun), ...objects]
}

/** One object of a stack; the test fails when there are none or several. */
export function only(objects: readonly KubeObject[], kind: string, name?: string): KubeObject {
  const found = objects.filter(o => o.kind === kind && (name === undefined || o.metadata.name === name))
  if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind} ${name ?? ''}`)
  return found[0]!
}

interface Container {
  readonly name: string
  readonly image: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[]
  readonly [field: string]: unknown
}
export interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> }
  readonly spec: {
    readonly containers: readonly Container[]
    readonly initContainers?: readonly Container[]
    readonly [field: string]: unknown
  }
}
export const template = (workload: KubeObject): PodTemplate => (workload.spec as { template: PodTemplate }).template

export const containersOf = (workload: KubeObject): Container[] => {
  const { spec } = template(workload)
  return [...(spec.initContainers ?? []), ...spec.containers]
}
