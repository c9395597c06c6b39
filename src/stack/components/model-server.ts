import type { KubeObject } from '../kube.ts'
import { names, tokenSecretKey } from '../names.ts'
import { type Env, envList, object, placed, podLabels } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'
import { marker, modelFolder } from './storage.ts'

/** vLLM listens here; the routing sidecar listens on 8000 and forwards to it. */
export const vllmPort = 8200
const sidecarPort = 8000
const nixlPort = 5557
const weightsMount = '/model-cache'

/** The argument of `vllm serve`: a folder on the volume, or the model id when each pod downloads for itself. */
export function servedPath(spec: StackSpec): string {
  if (spec.source.kind === 'hf') return spec.model
  if (spec.source.kind === 'claim') return `${weightsMount}/${spec.source.path.replace(/^\/+/, '')}`
  return `${weightsMount}/${modelFolder(spec.model)}`
}

/** Single quotes around anything that a shell could read as more than a word. */
const shellWord = (word: string): string =>
  /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

/** The whole `vllm serve` command line, one array entry per word. */
export function serveCommand(spec: StackSpec): string[] {
  const { settings } = spec
  return [
    'vllm',
    'serve',
    servedPath(spec),
    '--host',
    '0.0.0.0',
    '--served-model-name',
    spec.model,
    '--port',
    String(vllmPort),
    '--block-size',
    String(settings.blockSize),
    '--max-model-len',
    String(settings.maxModelLen),
    '--tensor-parallel-size',
    String(settings.tensorParallel),
    '--gpu-memory-utilization',
    String(settings.gpuMemoryUtilization),
    ...settings.extraArgs,
  ]
}

// A POSIX `.` of a file that may be missing would end the shell; `exec` lets SIGTERM reach vLLM.
const startScript = (spec: StackSpec): string =>
  [
    'python3 /setup/preprocess/set_llmdbench_environment.py || echo "preprocess failed, starting without it"',
    '[ ! -f "$HOME/llmdbench_env.sh" ] || . "$HOME/llmdbench_env.sh"',
    `exec ${serveCommand(spec).map(shellWord).join(' ')}`,
  ].join('\n')

/** The decode Deployment and its ServiceAccount, as the modelservice chart renders them. */
export const modelServer: Component = {
  id: 'model-server',
  objects: (spec: StackSpec): KubeObject[] => [
    object(spec, 'v1', 'ServiceAccount', names(spec).serviceAccount, {}),
    decode(spec),
  ],
}

function decode(spec: StackSpec): KubeObject {
  const n = names(spec)
  const { settings } = spec
  const selector = { 'llm-d.ai/inferenceServing': 'true', 'llm-d.ai/model': spec.label, 'llm-d.ai/role': 'decode' }
  const gpus = String(spec.gpusPerReplica)
  const resources = { cpu: settings.cpu, memory: settings.memory, 'nvidia.com/gpu': gpus }
  const env: Env = {
    VLLM_NIXL_SIDE_CHANNEL_HOST: { field: 'status.podIP' },
    ...settings.env,
    DP_SIZE: '1',
    TP_SIZE: String(settings.tensorParallel),
    DP_SIZE_LOCAL: '1',
    ...(spec.hfToken === undefined ? {} : { HF_TOKEN: { secret: n.tokenSecret, key: tokenSecretKey } }),
    ...(spec.source.kind === 'hf' ? { HF_HOME: weightsMount } : {}),
    ...(spec.source.kind === 'hf' && spec.hfEndpoint !== undefined ? { HF_ENDPOINT: spec.hfEndpoint } : {}),
  }
  const health = { httpGet: { path: '/health', port: sidecarPort } }
  return object(spec, 'apps/v1', 'Deployment', n.decode, {
    spec: {
      // Under an autoscaler the number belongs to it: an apply that names one would undo what it decided.
      ...(spec.autoscaling === undefined ? { replicas: spec.replicas } : {}),
      progressDeadlineSeconds: 3600,
      selector: { matchLabels: selector },
      template: {
        metadata: { labels: podLabels(spec, selector) },
        spec: {
          serviceAccountName: n.serviceAccount,
          schedulerName: 'default-scheduler',
          ...placed(spec.placement),
          ...(spec.accelerator === undefined ? {} : { affinity: gpuAffinity(spec.accelerator) }),
          // The sidecar first: its image is pulled while the gate waits, not after it.
          initContainers: [sidecar(spec), ...(spec.source.kind === 'pvc' ? [weightsGate(spec)] : [])],
          containers: [
            {
              name: 'vllm',
              image: spec.images.vllm,
              imagePullPolicy: 'IfNotPresent',
              command: ['/bin/sh', '-c'],
              args: [startScript(spec)],
              env: envList(env),
              ports: [
                { containerPort: nixlPort, protocol: 'TCP' },
                { containerPort: vllmPort, name: 'metrics', protocol: 'TCP' },
              ],
              resources: { limits: { ...resources }, requests: { ...resources } },
              startupProbe: { ...health, ...settings.startupProbe, timeoutSeconds: 5 },
              livenessProbe: { tcpSocket: { port: sidecarPort }, failureThreshold: 3, periodSeconds: 5 },
              readinessProbe: { ...health, failureThreshold: 3, periodSeconds: 5 },
              volumeMounts: [
                { name: 'dshm', mountPath: '/dev/shm' },
                { name: 'preprocesses', mountPath: '/setup/preprocess' },
                {
                  name: 'model-storage',
                  mountPath: weightsMount,
                  ...(spec.source.kind === 'hf' ? {} : { readOnly: true }),
                },
              ],
            },
          ],
          volumes: [
            { name: 'preprocesses', configMap: { name: n.preprocesses, defaultMode: 0o555 } },
            { name: 'dshm', emptyDir: { medium: 'Memory', sizeLimit: settings.shm } },
            { name: 'model-storage', ...weightsVolume(spec) },
          ],
        },
      },
    },
  })
}

/** A claim that is only read, or room of the pod's own for a download from the hub. */
function weightsVolume(spec: StackSpec): Record<string, unknown> {
  if (spec.source.kind === 'hf') return { emptyDir: { sizeLimit: spec.storage.size } }
  const claimName = spec.source.kind === 'pvc' ? names(spec).modelClaim : spec.source.claim
  return { persistentVolumeClaim: { claimName, readOnly: true } }
}

/**
 * Holds vLLM back until the download is complete, with vLLM's own image: scheduling and the pull of the large image
 * overlap with the download.
 */
function weightsGate(spec: StackSpec): Record<string, unknown> {
  const file = `${servedPath(spec)}/${marker}`
  return {
    name: 'wait-for-weights',
    image: spec.images.vllm,
    imagePullPolicy: 'IfNotPresent',
    command: ['/bin/sh', '-c'],
    // A shell that is process 1 ignores SIGTERM unless it is told to: teardown would wait for the whole grace period.
    args: [`trap 'exit 143' TERM; until [ -f ${shellWord(file)} ]; do sleep 0.2 2>/dev/null || sleep 1; done`],
    resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '1', memory: '256Mi' } },
    securityContext: { allowPrivilegeEscalation: false },
    volumeMounts: [{ name: 'model-storage', mountPath: weightsMount, readOnly: true }],
  }
}

/** A native sidecar (an init container that is always restarted): probes, pool and gateway talk to it. */
function sidecar(spec: StackSpec): Record<string, unknown> {
  return {
    name: 'routing-proxy',
    image: spec.images.sidecar,
    imagePullPolicy: 'IfNotPresent',
    args: [
      `--port=${sidecarPort}`,
      `--vllm-port=${vllmPort}`,
      '--connector=nixlv2',
      '--zap-encoder=json',
      '--zap-log-level=debug',
      '--secure-proxy=false',
    ],
    ports: [{ containerPort: sidecarPort, protocol: 'TCP' }],
    restartPolicy: 'Always',
    securityContext: { allowPrivilegeEscalation: false, runAsNonRoot: true },
  }
}

function gpuAffinity(accelerator: { key: string; value: string }): Record<string, unknown> {
  const expression = { key: accelerator.key, operator: 'In', values: [accelerator.value] }
  return {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [expression] }] },
    },
  }
}
