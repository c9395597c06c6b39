import { type KubeObject, stackLabel } from '../stack/kube.ts'
import { tokenSecretKey, tokenSecretName } from '../stack/names.ts'
import { type Env, envList, placed, restrictedContainer, restrictedPod } from '../stack/object.ts'
import type { PodPlacement } from '../stack/spec.ts'
import { harnessScript, profileMount, readerScript } from './script.ts'

/** Label of everything that one run step makes, by which post finds it again. */
export const runLabel = 'llm-d.ai/bench-run'

export interface HarnessRequest {
  readonly namespace: string
  readonly stack: string
  readonly runId: string
  /** 1-based. */
  readonly repeat: number
  /** 1-based position among the pods that load at once. */
  readonly parallelIndex: number
  readonly of: number
  readonly image: string
  readonly profileName: string
  readonly profileYaml: string
  /** guidellm's in-flight limit: rate x step, so that the client never holds requests back. */
  readonly maxConcurrency: number
  readonly placement: PodPlacement
  readonly resources: { readonly cpu: string; readonly memory: string }
  readonly hfSecret: boolean
  /** Label of the GPU nodes: preferred not, because a cluster may have no others. */
  readonly avoidNodes?: { readonly key: string; readonly value: string }
  /** OpenShift picks the user id itself. */
  readonly openShift?: boolean
  /** guidellm's number of load processes; its own default is 10. */
  readonly maxWorkerProcesses?: number
  readonly resultsDir: string
}

/**
 * The ConfigMap and the pod of one harness. Two containers share an emptyDir: `harness` ends with guidellm's exit code,
 * `results` stays until its files were copied, so no shared volume is needed and a failed run's files are not lost.
 */
export function harnessObjects(request: HarnessRequest): KubeObject[] {
  const { namespace, runId, repeat, parallelIndex, of } = request
  const suffix = `${runId}-r${repeat}-${parallelIndex}`
  const configName = `guidellm-profiles-${suffix}`
  // A ConfigMap key and a file name: the name of a user's profile may be neither.
  const profileFile = `${request.profileName.replace(/[^A-Za-z0-9_.-]+/g, '-').slice(0, 100)}.yaml`
  const queue = request.placement.queueName
  const labels = {
    [stackLabel]: request.stack,
    [runLabel]: runId,
    ...(queue === undefined ? {} : { 'kueue.x-k8s.io/queue-name': queue }),
  }
  const env: Env = {
    RESULTS_DIR: request.resultsDir,
    PROFILE_FILE: `${profileMount}/${profileFile}`,
    HOME: '/workspace/home',
    GUIDELLM__MAX_CONCURRENCY: String(request.maxConcurrency),
    ...(request.maxWorkerProcesses === undefined
      ? {}
      : { GUIDELLM__MAX_WORKER_PROCESSES: String(request.maxWorkerProcesses) }),
    ...(request.hfSecret
      ? {
          HF_TOKEN: { secret: tokenSecretName, key: tokenSecretKey, optional: true },
          HUGGING_FACE_HUB_TOKEN: { secret: tokenSecretName, key: tokenSecretKey, optional: true },
        }
      : {}),
  }
  const requests = { name: 'requests', mountPath: '/requests' }
  const config: KubeObject = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: configName, namespace, labels },
    data: { [profileFile]: request.profileYaml, 'harness.sh': harnessScript },
  }
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `llmdbench-guidellm-launcher-${parallelIndex}-of-${of}-${runId}-r${repeat}`,
      namespace,
      labels: { app: 'llmdbench-harness-launcher', ...labels },
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 5,
      ...placed(request.placement),
      ...avoiding(request.avoidNodes),
      securityContext: restrictedPod({ openShift: request.openShift ?? false }),
      containers: [
        {
          name: 'harness',
          image: request.image,
          command: ['sh', '-c'],
          args: [`exec sh ${profileMount}/harness.sh`],
          env: envList(env),
          resources: { requests: { ...request.resources }, limits: { ...request.resources } },
          securityContext: { ...restrictedContainer },
          volumeMounts: [
            requests,
            { name: 'profiles', mountPath: profileMount },
            { name: 'home', mountPath: '/workspace/home' },
          ],
        },
        {
          name: 'results',
          image: request.image,
          command: ['sh', '-c', readerScript],
          resources: { requests: { cpu: '50m', memory: '32Mi' }, limits: { memory: '256Mi' } },
          securityContext: { ...restrictedContainer },
          volumeMounts: [{ ...requests }],
        },
      ],
      volumes: [
        { name: 'requests', emptyDir: {} },
        { name: 'home', emptyDir: {} },
        { name: 'profiles', configMap: { name: configName } },
      ],
    },
  }
  return [config, pod]
}

function avoiding(label: HarnessRequest['avoidNodes']): Record<string, unknown> {
  if (label === undefined) return {}
  const preference = { matchExpressions: [{ key: label.key, operator: 'DoesNotExist' }] }
  return {
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, preference }] } },
  }
}
