import { expect, test } from '@jest/globals'
import { type HarnessRequest, harnessObjects } from '../../../src/harness/pod.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'

const request: HarnessRequest = {
  namespace: 'bench',
  stack: 'llmdbench-meta-lla-1-8b',
  runId: '0a1b2c3d4e',
  repeat: 2,
  parallelIndex: 1,
  of: 1,
  image: 'ghcr.io/llm-d/llm-d-benchmark:v0.4.0',
  profileName: 'chatbot_synthetic',
  profileYaml: 'profile: constant\n',
  maxConcurrency: 960,
  placement: { tolerations: [], nodeSelector: {} },
  resources: { cpu: '16', memory: '32Gi' },
  hfSecret: true,
  resultsDir: '/requests/guidellm_0a1b2c3d4e-r2_1',
}
// biome-ignore lint/suspicious/noExplicitAny: a pod's spec, looked at as Kubernetes would
const podOf = (objects: readonly KubeObject[]): any => objects.find(o => o.kind === 'Pod')
const podWith = (change: Partial<HarnessRequest>) => podOf(harnessObjects({ ...request, ...change }))
const envOf = (pod: ReturnType<typeof podOf>): Record<string, unknown> =>
  Object.fromEntries(
    pod.spec.containers[0].env.map((e: { name: string; value?: string; valueFrom?: unknown }) => [
      e.name,
      e.value ?? e.valueFrom,
    ]),
  )

test('B61: the ConfigMap holds the rendered profile and the script, unique per run, repeat and pod', () => {
  const [config] = harnessObjects(request)
  expect(config).toMatchObject({
    kind: 'ConfigMap',
    metadata: { name: 'guidellm-profiles-0a1b2c3d4e-r2-1', namespace: 'bench' },
    data: { 'chatbot_synthetic.yaml': 'profile: constant\n' },
  })
  const names = [
    request,
    { ...request, repeat: 3 },
    { ...request, parallelIndex: 2, of: 2 },
    { ...request, runId: 'ffff' },
  ].map(r => harnessObjects(r).map(o => o.metadata.name))
  expect(new Set(names.flat()).size).toBe(8)
})

test('B62: the harness container runs the script with 16 CPU and 32Gi, once, the profile at the known place', () => {
  const pod = podWith({})
  expect(pod.spec.restartPolicy).toBe('Never')
  expect(pod.spec.containers.map((c: { name: string }) => c.name)).toEqual(['harness', 'results'])
  expect(pod.spec.containers[0]).toMatchObject({
    image: request.image,
    command: ['sh', '-c'],
    resources: { requests: { cpu: '16', memory: '32Gi' }, limits: { cpu: '16', memory: '32Gi' } },
  })
  expect(envOf(pod)).toMatchObject({
    RESULTS_DIR: request.resultsDir,
    PROFILE_FILE: '/workspace/profiles/guidellm/chatbot_synthetic.yaml',
  })
  expect(podWith({ resources: { cpu: '2', memory: '4Gi' } }).spec.containers[0].resources.limits).toEqual({
    cpu: '2',
    memory: '4Gi',
  })
})

test('B62, B68: both containers share the result folder, so that it outlives guidellm, and need no shared volume', () => {
  const pod = podWith({})
  expect(pod.spec.volumes).toContainEqual({ name: 'requests', emptyDir: {} })
  for (const container of pod.spec.containers)
    expect(container.volumeMounts).toContainEqual({ name: 'requests', mountPath: '/requests' })
  expect(JSON.stringify(pod.spec.volumes)).not.toContain('persistentVolumeClaim')
})

test('B63: the pod gets no kubeconfig, no service account token and only the variables it reads', () => {
  const pod = podWith({})
  expect(pod.spec.automountServiceAccountToken).toBe(false)
  expect(Object.keys(envOf(pod)).sort()).toEqual([
    'GUIDELLM__MAX_CONCURRENCY',
    'HF_TOKEN',
    'HOME',
    'HUGGING_FACE_HUB_TOKEN',
    'PROFILE_FILE',
    'RESULTS_DIR',
  ])
  expect(pod.spec.containers[1].env).toBeUndefined()
})

test('B5: the token comes from the Secret by reference, and only when there is one', () => {
  expect(envOf(podWith({})).HF_TOKEN).toEqual({
    secretKeyRef: { name: 'llm-d-hf-token', key: 'HF_TOKEN', optional: true },
  })
  expect(Object.keys(envOf(podWith({ hfSecret: false })))).not.toContain('HF_TOKEN')
})

test("the client's limits are raised to the step: 512 in flight and 60 s would turn saturation into errors", () => {
  expect(envOf(podWith({ maxWorkerProcesses: 2 }))).toMatchObject({
    GUIDELLM__MAX_CONCURRENCY: '960',
    GUIDELLM__MAX_WORKER_PROCESSES: '2',
  })
})

test('B64: parallel pods are numbered i of N and have names and objects of their own', () => {
  const pods = [1, 2, 3].map(parallelIndex => podWith({ parallelIndex, of: 3 }))
  expect(pods.map(p => p.metadata.name)).toEqual(
    [1, 2, 3].map(i => `llmdbench-guidellm-launcher-${i}-of-3-0a1b2c3d4e-r2`),
  )
  expect(pods.map(p => p.spec.volumes.at(-1).configMap.name)).toEqual(
    [1, 2, 3].map(i => `guidellm-profiles-0a1b2c3d4e-r2-${i}`),
  )
})

test('B75: every object carries the ownership label and the label of the run', () => {
  for (const object of harnessObjects(request)) {
    expect(object.metadata.labels).toMatchObject({
      'llm-d.ai/bench-stack': request.stack,
      'llm-d.ai/bench-run': request.runId,
    })
  }
  expect(podWith({}).metadata.labels.app).toBe('llmdbench-harness-launcher')
})

test('the pod passes the restricted pod security standard and has a writable home', () => {
  const pod = podWith({})
  expect(pod.spec.securityContext).toMatchObject({
    runAsNonRoot: true,
    runAsUser: 65532,
    seccompProfile: { type: 'RuntimeDefault' },
  })
  for (const container of pod.spec.containers)
    expect(container.securityContext).toEqual({ allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } })
  const home = envOf(pod).HOME
  const mount = pod.spec.containers[0].volumeMounts.find((m: { mountPath: string }) => m.mountPath === home)
  expect(pod.spec.volumes).toContainEqual({ name: mount.name, emptyDir: {} })
  expect(podWith({ openShift: true }).spec.securityContext.runAsUser).toBeUndefined()
})

test('placement is applied, and GPU nodes are avoided without being forbidden', () => {
  const pod = podWith({
    avoidNodes: { key: 'nvidia.com/gpu.product', value: 'H100' },
    placement: {
      tolerations: [{ key: 'a', operator: 'Exists' }],
      nodeSelector: { zone: 'b' },
      priorityClass: 'low',
      queueName: 'q',
      imagePullSecret: 's',
    },
  })
  expect(pod.spec).toMatchObject({
    tolerations: [{ key: 'a', operator: 'Exists' }],
    nodeSelector: { zone: 'b' },
    priorityClassName: 'low',
    imagePullSecrets: [{ name: 's' }],
  })
  expect(pod.metadata.labels['kueue.x-k8s.io/queue-name']).toBe('q')
  expect(pod.spec.affinity).toEqual({
    nodeAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          preference: { matchExpressions: [{ key: 'nvidia.com/gpu.product', operator: 'DoesNotExist' }] },
        },
      ],
    },
  })
  expect(podWith({}).spec.affinity).toBeUndefined()
})

test("a user profile's name becomes a valid ConfigMap key, the same in the environment", () => {
  const objects = harnessObjects({ ...request, profileName: 'my profile/ü' })
  const [key] = Object.keys((objects[0] as unknown as { data: Record<string, string> }).data)
  expect(key).toMatch(/^[-._a-zA-Z0-9]+$/)
  expect(envOf(podOf(objects)).PROFILE_FILE).toBe(`/workspace/profiles/guidellm/${key}`)
})
