import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import type { FailureCode } from '../../../src/errors.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { readiness } from '../../../src/stack/readiness.ts'
import type { Readiness } from '../../../src/stack/spec.ts'

const folder = path.join(import.meta.dirname, '..', '..', 'fixtures', 'objects')

interface Situation {
  readonly live: KubeObject
  readonly pods?: KubeObject[]
  readonly events?: KubeObject[]
  readonly replicaSets?: KubeObject[]
}
function judge(name: string): Readiness {
  const {
    live,
    pods = [],
    events = [],
    replicaSets,
  } = JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8')) as Situation
  return readiness(live, { pods, events, ...(replicaSets ? { replicaSets } : {}) })
}

const readySituations = [
  'ConfigMap/exists',
  'Deployment/available',
  'Deployment/scaled-to-zero',
  'Gateway/programmed',
  'HTTPRoute/other-controller-first',
  'HTTPRoute/resolved',
  'InferencePool/accepted',
  'Job/complete',
  'PersistentVolumeClaim/bound',
  'PersistentVolumeClaim/waits-for-consumer',
  'Pod/ready',
  'Pod/succeeded',
]
const waitingSituations: Record<string, RegExp> = {
  'Deployment/crash-loop-of-a-pod-that-goes': /^1 of 2 replicas ready, pod decode-new: container vllm runs/,
  'Deployment/crash-loop-of-old-revision': /^0 of 2 replicas ready, pod decode-new/,
  'Deployment/loading': /^1 of 2 replicas ready, pod decode-new: container vllm runs and is not ready yet$/,
  'Deployment/not-observed': /has not seen the last change/,
  'Deployment/old-pods-remain': /^2 of 2 replicas ready/,
  'Deployment/one-pod-evicted': /^1 of 2 replicas ready, pod decode-new/,
  'Deployment/service-account-missing': /serviceaccount .* not found/,
  'Gateway/address-pending': /^Programmed is False: Failed to assign .* not found$/,
  'Gateway/new': /^not yet accepted|^Accepted is Unknown: Waiting for controller$/,
  'Gateway/no-address': /no address/,
  'Gateway/parameters-not-there-yet': /^Accepted is False: configmap .* not found$/,
  'Gateway/stale': /not yet programmed/,
  'HTTPRoute/backend-not-found': /^ResolvedRefs is False: backend\(x\) not found$/,
  'HTTPRoute/no-parents': /no controller has answered/,
  'HTTPRoute/stale': /Accepted is not known yet/,
  'InferencePool/conditions-missing': /Accepted is not known yet/,
  'InferencePool/no-parents': /no gateway/,
  'InferencePool/picker-not-found': /^ResolvedRefs is False: referenced ExtensionRef not found$/,
  'InferencePool/placeholder-only': /no gateway/,
  'Job/attempt-failed': /^running, 1 attempt\(s\) failed, container downloader .* crashes/,
  'Job/downloading': /^running, pod download-1: container downloader runs/,
  'PersistentVolumeClaim/provisioning-failed-once': /storageclass.* not found/,
  'Pod/crashed-once': /container vllm runs and is not ready yet/,
  'Pod/image-first-error': /container vllm waits \(ErrImagePull: /,
  'Pod/image-registry-busy': /container vllm waits \(ImagePullBackOff: /,
  'Pod/init-running': /container wait-for-weights runs/,
  'Pod/loading': /container vllm runs and is not ready yet/,
  'Pod/mount-failed-of-another-pod': /being created/,
  'Pod/mount-failed-once': /waits for a volume: MountVolume.SetUp failed/,
  'Pod/mounted-after-trouble': /container vllm runs/,
  'Pod/not-scheduled-yet': /not scheduled yet/,
  'Pod/secret-missing-once': /CreateContainerConfigError: secret "llm-d-hf-token" not found/,
  'Pod/unschedulable-volume': /unbound immediate PersistentVolumeClaims/,
}
const failedSituations: Record<string, { code: FailureCode; why: RegExp; next: RegExp }> = {
  'Deployment/crash-loop': { code: 'MODEL_LOAD', why: /crashes \(exit code 1\), 4 restarts/, next: /last lines/ },
  'Deployment/no-progress': { code: 'MODEL_LOAD', why: /timed out progressing/, next: /events/ },
  'Deployment/pod-security': { code: 'PREFLIGHT', why: /violates PodSecurity/, next: /policy/ },
  'Deployment/pods-evicted-again-and-again': { code: 'MODEL_LOAD', why: /low on resource: memory/, next: /log/ },
  'Deployment/quota': { code: 'GPU_SHORTAGE', why: /exceeded quota: gpu/, next: /quota/ },
  'Deployment/scheduler-crashes': {
    code: 'GATEWAY',
    why: /container epp of pod epp-1 crashes \(exit code 2\)/,
    next: /last lines/,
  },
  'Gateway/address-refused': { code: 'GATEWAY', why: /Failed to assign/, next: /istiod/ },
  'HTTPRoute/inference-extension-off': { code: 'PLATFORM', why: /not enabled/, next: /ENABLE_GATEWAY_API_INFERENCE/ },
  'Job/deadline': { code: 'MODEL_DOWNLOAD', why: /DeadlineExceeded: Job was active longer/, next: /log/ },
  'Job/failed': { code: 'MODEL_DOWNLOAD', why: /BackoffLimitExceeded: Job has reached/, next: /log/ },
  'Job/failed-is-false': { code: 'MODEL_DOWNLOAD', why: /BackoffLimitExceeded/, next: /log/ },
  'Job/image': { code: 'IMAGE_PULL', why: /container downloader/, next: /image-pull-secret/ },
  'Job/mount': { code: 'MODEL_DOWNLOAD', why: /Unable to attach or mount/, next: /claim/ },
  'Job/quota': { code: 'GPU_SHORTAGE', why: /exceeded quota: small/, next: /quota/ },
  'PersistentVolumeClaim/lost': { code: 'MODEL_DOWNLOAD', why: /lost/, next: /deep: true/ },
  'PersistentVolumeClaim/provisioning-failed': {
    code: 'MODEL_DOWNLOAD',
    why: /"fast" not found/,
    next: /storage-class/,
  },
  'Pod/crash-loop': {
    code: 'MODEL_LOAD',
    why: /container vllm of pod decode-1 crashes \(exit code 1\)/,
    next: /last lines/,
  },
  'Pod/crashed-twice-and-runs': { code: 'MODEL_LOAD', why: /exit code 139\), 2 restarts/, next: /last lines/ },
  'Pod/evicted': { code: 'MODEL_LOAD', why: /low on resource: ephemeral-storage/, next: /log/ },
  'Pod/failed': { code: 'HARNESS', why: /container harness ended with exit code 3/, next: /log/ },
  'Pod/hostile': { code: 'MODEL_LOAD', why: /evil \[2Jline \| x \| @everyone y+ \.\.\. y+$/, next: /plan\.yaml/ },
  'Pod/image-back-off': { code: 'IMAGE_PULL', why: /llm-d-cuda:v9/, next: /image-registry/ },
  'Pod/image-error-repeats': { code: 'IMAGE_PULL', why: /not found/, next: /image-registry/ },
  'Pod/image-name-invalid': { code: 'IMAGE_PULL', why: /invalid reference format/, next: /reference and tag/ },
  'Pod/image-of-init-container': { code: 'IMAGE_PULL', why: /container routing-proxy/, next: /image-pull-secret/ },
  'Pod/image-registry-busy-three-times': { code: 'IMAGE_PULL', why: /429 Too Many Requests/, next: /image-registry/ },
  'Pod/mount-failed': { code: 'MODEL_LOAD', why: /cannot mount a volume/, next: /ConfigMap or Secret/ },
  'Pod/must-not-be-root': { code: 'MODEL_LOAD', why: /runAsNonRoot/, next: /policy/ },
  'Pod/out-of-memory': { code: 'MODEL_LOAD', why: /OOMKilled/, next: /`memory` in the input overrides/ },
  'Pod/secret-missing': { code: 'MODEL_LOAD', why: /secret "llm-d-hf-token" not found/, next: /Secret or ConfigMap/ },
  'Pod/unschedulable-cpu': { code: 'GPU_SHORTAGE', why: /3 Insufficient cpu/, next: /CPU nodes/ },
  'Pod/unschedulable-gpu': { code: 'GPU_SHORTAGE', why: /2 Insufficient nvidia.com\/gpu/, next: /Free GPUs/ },
}

test.each(readySituations)('%s is ready', name => {
  expect(judge(name)).toEqual({ state: 'ready' })
})

test.each(Object.entries(waitingSituations))('%s is waited for, and says what for', (name, why) => {
  expect(judge(name)).toEqual({ state: 'waiting', why: expect.stringMatching(why) })
})

test.each(Object.entries(failedSituations))(
  'B34: %s ends the wait early, with a code and a next step',
  (name, expected) => {
    const verdict = judge(name)
    expect(verdict).toMatchObject({
      state: 'failed',
      code: expected.code,
      why: expect.stringMatching(expected.why),
      next: expect.stringMatching(expected.next),
    })
  },
)

test('foreign text in a verdict is one bounded line, and whole in the evidence', () => {
  const verdict = judge('Pod/hostile')
  if (verdict.state !== 'failed') throw new Error('not failed')
  expect(verdict.why).not.toMatch(/[\u0000-\u001f]/)
  expect(verdict.why.length).toBeLessThan(400)
  expect(verdict.evidence?.[0]).toContain('y'.repeat(5000))
})

test('every situation that is written down is judged by a test', () => {
  const written = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(e => e.isFile() && e.name.endsWith('.json'))
    .map(e => `${path.basename(e.parentPath)}/${e.name.replace('.json', '')}`)
  const judged = [...readySituations, ...Object.keys(waitingSituations), ...Object.keys(failedSituations)]
  expect(written.sort()).toEqual(judged.sort())
})
