import { expect, test } from '@jest/globals'
import { specHashAnnotation, stackLabel } from '../../../src/stack/kube.ts'
import { redact, stackObjects } from '../../../src/stack/stack.ts'
import { containersOf, hfToken, only, planOf, specWith, template } from './specs.ts'

const label = 'meta-lla-1ebbf38c-a-3-1-8b'
const workloadKinds = ['Deployment', 'Job']

test('the default stack with a token is 18 objects, in the order in which they can be applied', () => {
  expect(planOf(specWith()).map(o => `${o.kind}/${o.metadata.name}`)).toEqual([
    'ConfigMap/llm-d-bench-inventory',
    'Secret/llm-d-hf-token',
    'ConfigMap/llm-d-benchmark-preprocesses',
    'ConfigMap/infra-llmdbench-inference-gateway',
    `ConfigMap/${label}-gaie-epp`,
    `ServiceAccount/${label}-gaie-epp`,
    `ServiceAccount/${label}`,
    `Role/${label}-gaie-epp`,
    `RoleBinding/${label}-gaie-epp`,
    'PersistentVolumeClaim/model-pvc',
    `Service/${label}-gaie-epp`,
    `InferencePool/${label}-gaie`,
    'Gateway/infra-llmdbench-inference-gateway',
    'Job/download-model',
    `Deployment/${label}-gaie-epp`,
    `Deployment/${label}-decode`,
    `DestinationRule/${label}-gaie-epp`,
    `HTTPRoute/${label}`,
  ])
})

test('every object and every pod template carries the ownership label, and the proxy of the Gateway gets it too', () => {
  const spec = specWith()
  const objects = planOf(spec)
  expect(objects.map(o => o.metadata.labels?.[stackLabel])).toEqual(objects.map(() => `llmdbench-${label}`))
  for (const workload of objects.filter(o => workloadKinds.includes(o.kind))) {
    expect(template(workload).metadata.labels[stackLabel]).toBe(spec.stack)
  }
  const gateway = only(objects, 'Gateway').spec as { infrastructure: { labels: unknown } }
  expect(gateway.infrastructure.labels).toEqual({ [stackLabel]: spec.stack })
})

test('no selector of a Deployment holds the ownership label, which could then never change', () => {
  for (const deployment of stackObjects(specWith()).filter(o => o.kind === 'Deployment')) {
    const { selector } = deployment.spec as { selector: { matchLabels: Record<string, string> } }
    expect(Object.keys(selector.matchLabels)).not.toContain(stackLabel)
    expect(template(deployment).metadata.labels).toMatchObject(selector.matchLabels)
  }
})

test('B38: the objects of two standups of the same inputs are equal, byte for byte', () => {
  expect(JSON.stringify(stackObjects(specWith()))).toBe(JSON.stringify(stackObjects(specWith())))
})

test('B20: the token is in Secret llm-d-hf-token, key HF_TOKEN, only when one was given', () => {
  const secret = only(stackObjects(specWith()), 'Secret', 'llm-d-hf-token')
  expect(secret).toMatchObject({ type: 'Opaque', data: { HF_TOKEN: Buffer.from(hfToken).toString('base64') } })
  const without = stackObjects(specWith({ hfToken: undefined }, { gated: false }))
  expect(without.filter(o => o.kind === 'Secret')).toEqual([])
  expect(JSON.stringify(without)).not.toContain('llm-d-hf-token')
})

test('B2, B20: a harness namespace of its own gets its own copy of the token and nothing else', () => {
  const objects = stackObjects(specWith({ namespace: { model: 'llm-d-vezio', harness: 'llm-d-harness' } }))
  const elsewhere = objects.filter(o => o.metadata.namespace !== 'llm-d-vezio')
  expect(elsewhere.map(o => `${o.metadata.namespace}/${o.kind}/${o.metadata.name}`)).toEqual([
    'llm-d-harness/Secret/llm-d-hf-token',
  ])
})

test('a plan shows every key of a Secret and no value, and leaves the objects themselves alone', () => {
  const objects = stackObjects(specWith())
  const before = JSON.stringify(objects)
  const plan = redact([
    ...objects,
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { a: 'b' } },
  ])
  expect(only(plan, 'Secret', 'llm-d-hf-token').data).toEqual({ HF_TOKEN: 'REDACTED' })
  expect(only(plan, 'Secret', 's').stringData).toEqual({ a: 'REDACTED' })
  expect(JSON.stringify(objects)).toBe(before)
})

test('B21: model-pvc asks for 1Ti ReadWriteMany of the class that preflight found', () => {
  expect(only(stackObjects(specWith()), 'PersistentVolumeClaim', 'model-pvc').spec).toEqual({
    accessModes: ['ReadWriteMany'],
    resources: { requests: { storage: '1Ti' } },
    volumeMode: 'Filesystem',
    storageClassName: 'ocs-storagecluster-cephfs',
  })
  const left = only(stackObjects(specWith({}, { storageClass: undefined })), 'PersistentVolumeClaim').spec
  expect(left).not.toHaveProperty('storageClassName')
})

test('B23, B24: the download Job fills models/<org>/<name> within 2400 s and four attempts', () => {
  const job = only(stackObjects(specWith()), 'Job', 'download-model')
  expect(job.spec).toMatchObject({ backoffLimit: 3, activeDeadlineSeconds: 2400 })
  expect(template(job).spec).toMatchObject({
    restartPolicy: 'OnFailure',
    automountServiceAccountToken: false,
    volumes: [
      { name: 'model-cache', persistentVolumeClaim: { claimName: 'model-pvc' } },
      { name: 'tmp', emptyDir: {} },
    ],
  })
  const [container] = containersOf(job)
  expect(container?.env).toEqual([
    { name: 'MODEL_PATH', value: 'models/meta-llama/Llama-3.1-8B' },
    { name: 'HF_MODEL_ID', value: 'meta-llama/Llama-3.1-8B' },
    { name: 'HF_TOKEN', valueFrom: { secretKeyRef: { name: 'llm-d-hf-token', key: 'HF_TOKEN' } } },
    { name: 'HF_HOME', value: '/tmp/huggingface' },
    { name: 'HOME', value: '/tmp' },
    { name: 'MOUNT_PATH', value: '/cache' },
  ])
})

test('B23: the token reaches the download pod of a gated model alone', () => {
  const env = (gated: boolean) =>
    containersOf(only(stackObjects(specWith({}, { gated })), 'Job'))[0]?.env?.map(e => e.name)
  expect(env(true)).toContain('HF_TOKEN')
  expect(env(false)).not.toContain('HF_TOKEN')
})

test('the download pod satisfies the restricted Pod Security Standard', () => {
  const job = only(stackObjects(specWith()), 'Job')
  expect(template(job).spec.securityContext).toEqual({
    runAsNonRoot: true,
    runAsUser: 65532,
    runAsGroup: 65532,
    fsGroup: 65532,
    fsGroupChangePolicy: 'OnRootMismatch',
    seccompProfile: { type: 'RuntimeDefault' },
  })
  expect(containersOf(job)[0]?.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  })
})

test('on OpenShift no pod names a user id, which its namespaces hand out themselves', () => {
  const objects = stackObjects(specWith({}, { openShift: true }))
  expect(JSON.stringify(objects)).not.toMatch(/"runAsUser"|"runAsGroup"|"fsGroup"/)
  expect(template(only(objects, 'Job')).spec.securityContext).toMatchObject({ runAsNonRoot: true })
})

test('the download stays off nodes with the GPU label, unless the cluster has no others', () => {
  const affinity = (seen: object) => template(only(stackObjects(specWith({}, seen)), 'Job')).spec.affinity
  expect(affinity({})).toEqual({
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'nvidia.com/gpu.product', operator: 'DoesNotExist' }] }],
      },
    },
  })
  expect(affinity({ gpuNodesOnly: true })).toBeUndefined()
  expect(affinity({ accelerator: undefined })).toBeUndefined()
})

test('a changed download Job has another hash, a changed replica count does not touch it', () => {
  const hash = (...change: Parameters<typeof specWith>) =>
    only(stackObjects(specWith(...change)), 'Job').metadata.annotations?.[specHashAnnotation]
  expect(hash()).toMatch(/^[0-9a-f]{16}$/)
  expect(hash({ replicas: 5 })).toBe(hash())
  expect(hash({ hfToken: 'hf_rotated' })).toBe(hash())
  expect(hash({ model: 'Qwen/Qwen3-0.6B' })).not.toBe(hash())
  expect(hash({ timeouts: { downloadMs: 1000 } })).not.toBe(hash())
})

test('weights that are on a claim already need no volume, no Job and no gate', () => {
  const spec = specWith({ modelSource: { kind: 'claim', claim: 'shared-weights', path: '/llama/3.1-8b' } })
  const objects = stackObjects(spec)
  expect(objects.filter(o => ['Job', 'PersistentVolumeClaim'].includes(o.kind))).toEqual([])
  const decode = only(objects, 'Deployment', `${label}-decode`)
  expect(containersOf(decode).map(c => c.name)).toEqual(['routing-proxy', 'vllm'])
  expect(containersOf(decode)[1]?.args?.[0]).toContain('exec vllm serve /model-cache/llama/3.1-8b --host')
  expect(template(decode).spec.volumes).toContainEqual({
    name: 'model-storage',
    persistentVolumeClaim: { claimName: 'shared-weights', readOnly: true },
  })
})

test('with model-source hf every pod downloads for itself, into room of its own', () => {
  const objects = stackObjects(specWith({ modelSource: { kind: 'hf' }, hfEndpoint: 'https://hub.example.com' }))
  expect(objects.filter(o => ['Job', 'PersistentVolumeClaim'].includes(o.kind))).toEqual([])
  const decode = only(objects, 'Deployment', `${label}-decode`)
  const vllm = containersOf(decode)[1]
  expect(vllm?.args?.[0]).toContain('exec vllm serve meta-llama/Llama-3.1-8B --host')
  expect(vllm?.env).toContainEqual({ name: 'HF_HOME', value: '/model-cache' })
  expect(vllm?.env).toContainEqual({ name: 'HF_ENDPOINT', value: 'https://hub.example.com' })
  expect(template(decode).spec.volumes).toContainEqual({ name: 'model-storage', emptyDir: { sizeLimit: '1Ti' } })
})

test('B25: the preprocess script is in the namespace of the vLLM pods, which mount it', () => {
  const objects = stackObjects(specWith({ namespace: { model: 'models', harness: 'load' } }))
  const map = only(objects, 'ConfigMap', 'llm-d-benchmark-preprocesses')
  expect(map.metadata.namespace).toBe('models')
  expect(Object.keys(map.data as object)).toEqual(['set_llmdbench_environment.py'])
})

test('B29: every image is the one that the spec names, none is left to a default', () => {
  const spec = specWith()
  const images = stackObjects(spec)
    .filter(o => workloadKinds.includes(o.kind))
    .flatMap(o => containersOf(o).map(c => c.image))
  expect([...new Set(images)].sort()).toEqual(Object.values(spec.images).sort())
})

test('B30: environment and ports of the path reach the decode container, each name once', () => {
  const vllm = containersOf(only(stackObjects(specWith()), 'Deployment', `${label}-decode`)).at(-1)
  const env = vllm?.env ?? []
  expect(new Set(env.map(e => e.name)).size).toBe(env.length)
  for (const [name, value] of [
    ['UCX_TLS', 'rc,sm,cuda_ipc,cuda_copy,tcp'],
    ['UCX_SOCKADDR_TLS_PRIORITY', 'tcp'],
    ['VLLM_NIXL_SIDE_CHANNEL_PORT', '5557'],
    ['VLLM_LOGGING_LEVEL', 'INFO'],
    ['VLLM_ALLOW_LONG_MAX_MODEL_LEN', '1'],
    ['VLLM_WORKER_MULTIPROC_METHOD', 'spawn'],
    ['DP_SIZE', '1'],
    ['TP_SIZE', '1'],
    ['DP_SIZE_LOCAL', '1'],
  ]) {
    expect(env).toContainEqual({ name, value })
  }
  expect(env).toContainEqual({
    name: 'VLLM_NIXL_SIDE_CHANNEL_HOST',
    valueFrom: { fieldRef: { fieldPath: 'status.podIP' } },
  })
  expect(vllm?.ports).toEqual([
    { containerPort: 5557, protocol: 'TCP' },
    { containerPort: 8200, name: 'metrics', protocol: 'TCP' },
  ])
})

test('B31: the vllm serve command carries every flag, in place of the shell', () => {
  const vllm = containersOf(only(stackObjects(specWith()), 'Deployment', `${label}-decode`)).at(-1)
  expect(vllm?.command).toEqual(['/bin/sh', '-c'])
  expect(vllm?.args?.[0]?.split('\n').at(-1)).toBe(
    [
      'exec vllm serve /model-cache/models/meta-llama/Llama-3.1-8B',
      '--host 0.0.0.0 --served-model-name meta-llama/Llama-3.1-8B --port 8200 --block-size 64 --max-model-len 16000',
      '--tensor-parallel-size 1 --gpu-memory-utilization 0.95',
      `--kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'`,
      '--enforce-eager --disable-log-requests --disable-uvicorn-access-log',
    ].join(' '),
  )
})

test('B32: two decode replicas of 16 CPU, 64Gi and one GPU, with the probes on the sidecar', () => {
  const decode = only(stackObjects(specWith()), 'Deployment', `${label}-decode`)
  expect(decode.spec).toMatchObject({ replicas: 2 })
  const vllm = containersOf(decode).at(-1)
  const resources = { cpu: '16', memory: '64Gi', 'nvidia.com/gpu': '1' }
  expect(vllm).toMatchObject({
    resources: { limits: resources, requests: resources },
    startupProbe: {
      httpGet: { path: '/health', port: 8000 },
      initialDelaySeconds: 5,
      periodSeconds: 5,
      failureThreshold: 360,
      timeoutSeconds: 5,
    },
    livenessProbe: { tcpSocket: { port: 8000 }, failureThreshold: 3, periodSeconds: 5 },
    readinessProbe: { httpGet: { path: '/health', port: 8000 }, failureThreshold: 3, periodSeconds: 5 },
  })
  expect(stackObjects(specWith()).filter(o => o.metadata.name.endsWith('-prefill'))).toEqual([])
})

test('B32: overrides change replicas, resources, GPUs and probes of the decode pods', () => {
  const spec = specWith({
    replicas: 3,
    overrides: {
      tensorParallel: 4,
      cpu: 8,
      memory: '128Gi',
      startupProbe: { initialDelaySeconds: 30, periodSeconds: 30, failureThreshold: 60 },
    },
  })
  const decode = only(stackObjects(spec), 'Deployment', `${label}-decode`)
  expect(decode.spec).toMatchObject({ replicas: 3 })
  const vllm = containersOf(decode).at(-1)
  expect(vllm?.resources).toMatchObject({ limits: { cpu: '8', memory: '128Gi', 'nvidia.com/gpu': '4' } })
  expect(vllm?.startupProbe).toMatchObject({ initialDelaySeconds: 30, periodSeconds: 30, failureThreshold: 60 })
  expect(vllm?.args?.[0]).toContain('--tensor-parallel-size 4')
})

test('B17: decode pods are bound to the nodes whose label was found', () => {
  expect(template(only(stackObjects(specWith()), 'Deployment', `${label}-decode`)).spec.affinity).toEqual({
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: 'nvidia.com/gpu.product', operator: 'In', values: ['NVIDIA-H100-80GB-HBM3'] }] },
        ],
      },
    },
  })
})

test('B33: the route has a rewritten prefix and a catch-all, both without a time limit', () => {
  const backendRefs = [
    { group: 'inference.networking.k8s.io', kind: 'InferencePool', name: `${label}-gaie`, port: 8000, weight: 1 },
  ]
  const timeouts = { request: '0s', backendRequest: '0s' }
  expect(only(stackObjects(specWith()), 'HTTPRoute', label).spec).toEqual({
    parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'infra-llmdbench-inference-gateway' }],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: `/${label}/` } }],
        filters: [
          { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } },
        ],
        backendRefs,
        timeouts,
      },
      { backendRefs, timeouts },
    ],
  })
})

test('B35: the Gateway says from its creation on who stood it up, from what, and how', () => {
  expect(only(stackObjects(specWith()), 'Gateway').metadata.labels).toMatchObject({
    'stood-up-by': 'bench-action',
    'stood-up-from': 'llm-d-bench-action',
    'stood-up-via': 'modelservice',
  })
})

test('tolerations, node selector, priority, pull secret and queue are on every pod that is made', () => {
  const placement = {
    tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists' as const }],
    nodeSelector: { pool: 'benchmarks' },
    priorityClass: 'benchmark',
    queueName: 'gpu-queue',
    imagePullSecret: 'mirror-login',
  }
  const workloads = stackObjects(specWith({ placement })).filter(o => workloadKinds.includes(o.kind))
  expect(workloads).toHaveLength(3)
  for (const workload of workloads) {
    const { metadata, spec } = template(workload)
    expect(metadata.labels['kueue.x-k8s.io/queue-name']).toBe('gpu-queue')
    expect(spec).toMatchObject({
      tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists' }],
      nodeSelector: { pool: 'benchmarks' },
      priorityClassName: 'benchmark',
      imagePullSecrets: [{ name: 'mirror-login' }],
    })
  }
})
