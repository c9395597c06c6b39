import type { PathSettings } from '../stack/spec.ts'

/** The endpoint picker's default scorers: queue length, free KV cache, prefix-cache locality. */
const defaultPlugins = `apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
`

/** One GPU per replica behind the inference scheduler, no prefill role. */
export const inferenceScheduling: PathSettings = {
  maxModelLen: 16000,
  blockSize: 64,
  gpuMemoryUtilization: 0.95,
  tensorParallel: 1,
  cpu: '16',
  memory: '64Gi',
  shm: '16Gi',
  extraArgs: [
    '--kv-transfer-config',
    '{"kv_connector":"NixlConnector","kv_role":"kv_both"}',
    '--enforce-eager',
    '--disable-log-requests',
    '--disable-uvicorn-access-log',
  ],
  env: {
    UCX_TLS: 'rc,sm,cuda_ipc,cuda_copy,tcp',
    UCX_SOCKADDR_TLS_PRIORITY: 'tcp',
    VLLM_NIXL_SIDE_CHANNEL_PORT: '5557',
    VLLM_WORKER_MULTIPROC_METHOD: 'spawn',
    VLLM_LOGGING_LEVEL: 'INFO',
    VLLM_CACHE_ROOT: '/tmp/vllm',
    VLLM_ALLOW_LONG_MAX_MODEL_LEN: '1',
    VLLM_SERVER_DEV_MODE: '1',
    VLLM_LOAD_FORMAT: 'auto',
  },
  // The same ceiling of 30 minutes as 30 s x 60, without the half period of 15 s that every start would wait on average.
  startupProbe: { initialDelaySeconds: 5, periodSeconds: 5, failureThreshold: 360 },
  gateway: { className: 'istio', serviceType: 'NodePort' },
  scheduler: { pluginsFile: 'default-plugins.yaml', plugins: defaultPlugins },
  harness: { cpu: '16', memory: '32Gi' },
}
