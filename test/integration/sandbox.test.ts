import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { get } from 'node:https'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { exec } from '../../src/cluster/exec.ts'
import { silentLog } from '../../src/log.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import type { Pod } from '../sandbox/controllers/objects.ts'
import { type Sandbox, startSandbox } from '../sandbox/sandbox.ts'

let sandbox: Sandbox
beforeAll(async () => {
  sandbox = await startSandbox({ speed: 20 })
})
afterAll(() => sandbox.close())

/** For what no change of an object announces. */
async function eventually(test: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!test() && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 20))
  expect(test()).toBe(true)
}

let namespaces = 0
/** A namespace of its own for each test, with its default ServiceAccount. */
async function freshNamespace(): Promise<string> {
  const name = `test-${++namespaces}`
  sandbox.api.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  await sandbox.until('the ServiceAccount', () => sandbox.api.store.peek('serviceaccounts', name, 'default'))
  return name
}

const shell = (script: string) => ({ name: 'main', image: 'registry.test/tool:1', command: ['sh', '-c', script] })
const forever = 'trap "exit 0" TERM; while :; do sleep 0.05; done'
const podObject = (namespace: string, name: string, spec: Record<string, unknown>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: { restartPolicy: 'Never', ...spec },
})
const create = (object: KubeObject) => sandbox.api.store.create(object)
const podNow = (namespace: string, name: string) => sandbox.api.store.peek('pods', namespace, name) as Pod | undefined
const statusOf = (namespace: string, name: string, container = 'main') => {
  const status = podNow(namespace, name)?.status
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].find(
    c => c.name === container,
  )
}
const succeeded = (namespace: string, name: string) =>
  sandbox.until(`${name} ends`, () => {
    const phase = podNow(namespace, name)?.status?.phase
    if (phase === 'Failed')
      throw new Error(
        `${name} failed: ${JSON.stringify(statusOf(namespace, name)?.state)} ${sandbox.podLog(namespace, name, 'main')}`,
      )
    return phase === 'Succeeded'
  })
const conditionOf = (object: KubeObject | undefined, type: string) =>
  (
    object?.status as { conditions?: { type: string; status: string; reason?: string; message?: string }[] } | undefined
  )?.conditions?.find(c => c.type === type)

/** A web server on the pod's address that says who it is. */
const server = (port: number) =>
  `require('http').createServer((q, r) => { r.statusCode = q.url === '/bad' ? 500 : 200; r.end(process.env.HOSTNAME) }).listen(${port}, process.env.SANDBOX_POD_IP); process.on('SIGTERM', () => process.exit(0))`
function web(namespace: string, more: Record<string, unknown> = {}, image = 'registry.test/web:1'): KubeObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          initContainers: [
            {
              ...shell('echo first > /work/order'),
              name: 'first',
              volumeMounts: [{ name: 'work', mountPath: '/work' }],
            },
            {
              ...shell(`cat /work/order; touch /work/up; ${forever}`),
              ...{ name: 'sidecar', restartPolicy: 'Always', volumeMounts: [{ name: 'work', mountPath: '/work' }] },
              startupProbe: { exec: { command: ['test', '-f', '/work/up'] }, periodSeconds: 1 },
            },
          ],
          containers: [
            {
              ...{
                name: 'web',
                image,
                command: [process.execPath, '-e', server(8000)],
                ports: [{ name: 'http', containerPort: 8000 }],
              },
              startupProbe: { tcpSocket: { port: 'http' }, periodSeconds: 1, failureThreshold: 100 },
              readinessProbe: { httpGet: { path: '/health', port: 'http' }, periodSeconds: 1 },
              livenessProbe: { grpc: { port: 8000 }, periodSeconds: 1 },
            },
          ],
          volumes: [{ name: 'work', emptyDir: {} }],
        },
      },
      ...more,
    },
  }
}
const available = (namespace: string, count: number) =>
  sandbox.until(`${count} replicas`, () => {
    const live = sandbox.api.store.peek('deployments.apps', namespace, 'web')
    const status = live?.status as Record<string, number> | undefined
    const counts = [status?.replicas, status?.updatedReplicas, status?.availableReplicas]
    return status?.observedGeneration === live?.metadata.generation && counts.every(n => n === count) ? live : undefined
  })

describe('workloads', () => {
  test('a Deployment with init container, native sidecar and probes becomes Available, two pods on one port, reached by the Service name', async () => {
    const namespace = await freshNamespace()
    create(web(namespace))
    create({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'http' }] },
    })
    const live = await available(namespace, 2)
    expect(conditionOf(live, 'Available')).toMatchObject({ status: 'True', reason: 'MinimumReplicasAvailable' })
    expect(conditionOf(live, 'Progressing')).toMatchObject({ status: 'True', reason: 'NewReplicaSetAvailable' })
    const pods = sandbox.api.store.peekAll('pods', namespace) as Pod[]
    expect(pods.map(p => p.status?.podIP)).toEqual([expect.stringMatching(/^127\./), expect.stringMatching(/^127\./)])
    expect(pods[0]!.status!.podIP).not.toBe(pods[1]!.status!.podIP)
    expect(pods[0]!.status!.initContainerStatuses).toMatchObject([
      { name: 'first', ready: true, state: { terminated: { exitCode: 0, reason: 'Completed' } } },
      { name: 'sidecar', ready: true, started: true, state: { running: {} } },
    ])
    expect(pods[0]!.status!.containerStatuses?.[0]?.imageID).toMatch(/^registry\.test\/web@sha256:[0-9a-f]{64}$/)
    expect(sandbox.podLog(namespace, pods[0]!.metadata.name, 'sidecar')).toBe('first\n')

    // The short name, the full name and the cluster IP lead to a ready pod; names of nobody and of the world do not.
    const clusterIp = (sandbox.api.store.peek('services', namespace, 'web')!.spec as { clusterIP: string }).clusterIP
    const urls = ['http://web/', `http://web.${namespace}.svc.cluster.local:80/x`, `http://${clusterIp}/`]
    const foreign = ['http://web.nowhere/', 'http://example.com/', 'http://web:81/', 'http://localhost:8000/']
    create(
      podObject(namespace, 'client', {
        containers: [shell([...urls, ...foreign].map(u => `curl -s -o - -w ' %{http_code}\\n' ${u}`).join('; '))],
      }),
    )
    await succeeded(namespace, 'client')
    const answers = sandbox.podLog(namespace, 'client', 'main').trim()
    const names = pods.map(p => p.metadata.name)
    for (const line of answers.split('\n').filter(l => l.endsWith(' 200'))) expect(names).toContain(line.split(' ')[0])
    expect(answers.match(/ 200$/gm)).toHaveLength(3)
    expect(answers.match(/ 502$/gm)).toHaveLength(4)
    expect(answers).toContain('no Service nowhere/web')
    expect(answers).toContain('example.com: no Service com/example, and nothing outside the sandbox can be reached')
    expect(answers).toContain(`service ${namespace}/web has no port 81`)
  })

  test('a changed template rolls without losing the last ready pod; scaling down ends with the given number', async () => {
    const namespace = await freshNamespace()
    create(web(namespace, { strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }))
    await available(namespace, 2)
    const first = sandbox.api.store.peekAll('pods', namespace).map(p => p.metadata.name)
    let lowest = 2
    const stop = sandbox.api.store.subscribe(({ object }) => {
      const status = object.kind === 'Deployment' ? (object.status as { availableReplicas?: number }) : undefined
      if (status) lowest = Math.min(lowest, status.availableReplicas ?? 0)
    })
    sandbox.api.store.modify('deployments.apps', namespace, 'web', draft => {
      ;(draft.spec as { template: { spec: { containers: { image: string }[] } } }).template.spec.containers[0]!.image =
        'registry.test/web:2'
    })
    await sandbox.until('the old pods are gone', () => first.every(name => podNow(namespace, name) === undefined))
    await available(namespace, 2)
    stop()
    expect(lowest).toBe(2)
    expect(sandbox.api.store.peekAll('replicasets.apps', namespace)).toHaveLength(2)
    sandbox.api.store.modify('deployments.apps', namespace, 'web', draft =>
      Object.assign(draft.spec as object, { replicas: 1 }),
    )
    await available(namespace, 1)
    await sandbox.until('one pod is left', () => sandbox.api.store.peekAll('pods', namespace).length === 1)
  })

  test('Recreate starts the new pod only when the old one is gone; deleting the Deployment removes all that it owns', async () => {
    const namespace = await freshNamespace()
    create(web(namespace, { replicas: 1, strategy: { type: 'Recreate' } }))
    await available(namespace, 1)
    let most = 0
    const stop = sandbox.api.store.subscribe(() => {
      most = Math.max(most, sandbox.api.store.peekAll('pods', namespace).length)
    })
    sandbox.api.store.modify('deployments.apps', namespace, 'web', draft => {
      ;(draft.spec as { template: { metadata: { labels: Record<string, string> } } }).template.metadata.labels.round =
        '2'
    })
    await sandbox.until('the new pod is ready', () =>
      (sandbox.api.store.peekAll('pods', namespace) as Pod[]).some(
        p => p.metadata.labels?.round === '2' && conditionOf(p, 'Ready')?.status === 'True',
      ),
    )
    stop()
    expect(most).toBe(1)
    sandbox.api.store.delete('deployments.apps', namespace, 'web')
    await sandbox.until(
      'nothing is left',
      () => !sandbox.snapshot().some(l => / (Pod|ReplicaSet|Deployment) /.test(l) && l.includes(` ${namespace}/`)),
    )
  })

  test('a ServiceAccount that does not exist yet delays the pods, with ReplicaFailure', async () => {
    const namespace = await freshNamespace()
    const late = web(namespace, { replicas: 1 })
    ;(late.spec as { template: { spec: Record<string, unknown> } }).template.spec.serviceAccountName = 'late'
    create(late)
    await sandbox.until('ReplicaFailure', () =>
      conditionOf(sandbox.api.store.peek('deployments.apps', namespace, 'web'), 'ReplicaFailure')?.message?.includes(
        'serviceaccount "late" not found',
      ),
    )
    create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'late', namespace } })
    expect(conditionOf(await available(namespace, 1), 'ReplicaFailure')).toBeUndefined()
  })

  const job = (
    namespace: string,
    script: string,
    spec: Record<string, unknown>,
    restartPolicy = 'Never',
  ): KubeObject => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'work', namespace },
    spec: { ...spec, template: { spec: { restartPolicy, containers: [shell(script)] } } },
  })
  const ended = (namespace: string, type: string) =>
    sandbox.until(`Job ${type}`, () => {
      const live = sandbox.api.store.peek('jobs.batch', namespace, 'work')
      return conditionOf(live, type)?.status === 'True' ? live : undefined
    })

  test('a Job completes', async () => {
    const namespace = await freshNamespace()
    create(job(namespace, 'echo done', {}))
    const live = await ended(namespace, 'Complete')
    expect(live.status).toMatchObject({
      succeeded: 1,
      completionTime: expect.any(String),
      startTime: expect.any(String),
    })
    expect(conditionOf(live, 'SuccessCriteriaMet')?.status).toBe('True')
  })

  test.each([
    ['Never', 3],
    ['OnFailure', 1],
  ])('a Job that fails reaches its back-off limit (restartPolicy %s)', async (policy, pods) => {
    const namespace = await freshNamespace()
    const seen = new Set<string>()
    const stop = sandbox.api.store.subscribe(({ object }) => {
      if (object.kind === 'Pod' && object.metadata.namespace === namespace) seen.add(object.metadata.name)
    })
    create(job(namespace, 'echo no; exit 7', { backoffLimit: 2 }, policy))
    const live = await ended(namespace, 'Failed')
    stop()
    expect(conditionOf(live, 'Failed')).toMatchObject({
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
    })
    expect(seen.size).toBe(pods)
    if (policy === 'Never')
      expect(statusOf(namespace, [...seen][0]!)?.state.terminated).toMatchObject({ exitCode: 7, reason: 'Error' })
  })

  test('a Job that takes too long fails with DeadlineExceeded and its pod is removed', async () => {
    const namespace = await freshNamespace()
    create(job(namespace, forever, { activeDeadlineSeconds: 1 }))
    expect(conditionOf(await ended(namespace, 'Failed'), 'Failed')?.reason).toBe('DeadlineExceeded')
    await sandbox.until('its pod is gone', () => sandbox.api.store.peekAll('pods', namespace).length === 0)
  })
})

describe('what goes wrong is seen in status and events', () => {
  test('Unschedulable: no node fits, and the reasons are counted; it runs when room becomes free', async () => {
    const namespace = await freshNamespace()
    const gpus = (n: number, spec: Record<string, unknown> = {}) => ({
      containers: [{ ...shell(forever), resources: { limits: { 'nvidia.com/gpu': n } } }],
      ...spec,
    })
    create(podObject(namespace, 'a', gpus(8)))
    create(podObject(namespace, 'b', gpus(8)))
    await sandbox.until('both run', () => ['a', 'b'].every(p => podNow(namespace, p)?.status?.phase === 'Running'))
    const onlyGpuNodes = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'nvidia.com/gpu.product', operator: 'Exists' }] }],
        },
      },
    }
    create(podObject(namespace, 'c', gpus(4, { affinity: onlyGpuNodes })))
    const message =
      "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
    await sandbox.until(
      'unschedulable',
      () => conditionOf(podNow(namespace, 'c'), 'PodScheduled')?.reason === 'Unschedulable',
    )
    expect(conditionOf(podNow(namespace, 'c'), 'PodScheduled')).toMatchObject({ status: 'False', message })
    expect(sandbox.events(namespace)).toContain(`FailedScheduling Pod/c: ${message}`)
    sandbox.api.store.delete('pods', namespace, 'a')
    await sandbox.until('c runs', () => podNow(namespace, 'c')?.status?.phase === 'Running')
    for (const pod of ['b', 'c']) sandbox.api.store.delete('pods', namespace, pod)
  })

  test('a taint keeps pods without the toleration away', async () => {
    const tainted = await startSandbox({
      nodes: [{ name: 'gpu', gpus: 1, taints: [{ key: 'nvidia.com/gpu', value: 'present', effect: 'NoSchedule' }] }],
      gateway: false,
    })
    try {
      const pod = (name: string, more = {}) => podObject('default', name, { containers: [shell('true')], ...more })
      tainted.api.store.create(pod('plain'))
      tainted.api.store.create(pod('tolerant', { tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists' }] }))
      await tainted.until(
        'the tolerant one ends',
        () => (tainted.api.store.peek('pods', 'default', 'tolerant') as Pod).status?.phase === 'Succeeded',
      )
      expect(conditionOf(tainted.api.store.peek('pods', 'default', 'plain'), 'PodScheduled')?.message).toContain(
        '1 node(s) had untolerated taint {nvidia.com/gpu: present}',
      )
    } finally {
      await tainted.close()
    }
  })

  test('delays: a volume made for its first consumer, one image pull per node, and the start of the container add up', async () => {
    const delays = {
      schedule: 50,
      pvcBind: 100,
      imagePull: (_pod: Pod, image: string) => (image === 'slow:1' ? 200 : 0),
      containerStart: 50,
    }
    const storageClasses = [{ name: 'late', isDefault: true, bindingMode: 'WaitForFirstConsumer' as const }]
    const slow = await startSandbox({ delays, storageClasses, nodes: [{ name: 'n' }], gateway: false })
    try {
      const { store } = slow.api
      store.create({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'c', namespace: 'default' },
        spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
      })
      await slow.until('it waits for a consumer', () =>
        slow.events('default').some(e => e.startsWith('WaitForFirstConsumer')),
      )
      const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }]
      const took = async (name: string) => {
        const began = performance.now()
        store.create(podObject('default', name, { volumes, containers: [{ ...shell('true'), image: 'slow:1' }] }))
        await slow.until(
          `${name} ends`,
          () => (store.peek('pods', 'default', name) as Pod).status?.phase === 'Succeeded',
        )
        return performance.now() - began
      }
      const first = await took('first')
      expect(first).toBeGreaterThanOrEqual(395)
      const second = await took('second')
      expect(second).toBeGreaterThanOrEqual(95)
      expect(second).toBeLessThan(first - 200)
      expect(
        store.peek('persistentvolumeclaims', 'default', 'c')?.metadata.annotations?.[
          'volume.kubernetes.io/selected-node'
        ],
      ).toBe('n')
    } finally {
      await slow.close()
    }
  })

  test('ImagePullBackOff, and the pod runs once the image is there', async () => {
    const namespace = await freshNamespace()
    const fault = { match: 'registry.test/absent', kind: 'missing' } as const
    sandbox.faults.images.push(fault)
    create(podObject(namespace, 'p', { containers: [{ ...shell('true'), image: 'registry.test/absent:1' }] }))
    await sandbox.until('ErrImagePull', () => statusOf(namespace, 'p')?.state.waiting?.reason === 'ErrImagePull')
    await sandbox.until(
      'ImagePullBackOff',
      () => statusOf(namespace, 'p')?.state.waiting?.reason === 'ImagePullBackOff',
    )
    expect(podNow(namespace, 'p')?.status?.phase).toBe('Pending')
    expect(sandbox.events(namespace).join('\n')).toMatch(
      /Failed Pod\/p: Failed to pull image "registry.test\/absent:1": .*registry.test\/absent:1: not found/,
    )
    sandbox.faults.images.splice(sandbox.faults.images.indexOf(fault), 1)
    await succeeded(namespace, 'p')
  })

  test('CrashLoopBackOff, with the last exit and the log of the run before', async () => {
    const namespace = await freshNamespace()
    create(
      podObject(namespace, 'p', {
        restartPolicy: 'Always',
        containers: [{ name: 'main', image: 'registry.test/tool:crash' }],
      }),
    )
    await sandbox.until(
      'CrashLoopBackOff',
      () => statusOf(namespace, 'p')?.state.waiting?.reason === 'CrashLoopBackOff',
    )
    const status = statusOf(namespace, 'p')!
    expect(status.restartCount).toBeGreaterThanOrEqual(1)
    expect(status.lastState.terminated).toMatchObject({ exitCode: 1, reason: 'Error' })
    expect(podNow(namespace, 'p')?.status?.phase).toBe('Running')
    expect(sandbox.events(namespace).join('\n')).toContain('BackOff Pod/p: Back-off restarting failed container main')
    expect((await log(namespace, 'p', 'previous=true')).text).toBe('starting\nfatal: this image crashes\n')
    sandbox.api.store.delete('pods', namespace, 'p')
  })

  test('FailedMount until the ConfigMap exists, CreateContainerConfigError until the Secret does', async () => {
    const namespace = await freshNamespace()
    const volumes = [{ name: 'conf', configMap: { name: 'late' } }]
    const env = [{ name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'late', key: 'token' } } }]
    create(
      podObject(namespace, 'p', {
        volumes,
        containers: [
          { ...shell('cat /conf/a; echo $TOKEN'), env, volumeMounts: [{ name: 'conf', mountPath: '/conf' }] },
        ],
      }),
    )
    const failed = () => sandbox.api.store.peekAll('events', namespace).find(e => e.reason === 'FailedMount')
    await sandbox.until('three mount failures', () => Number(failed()?.count) >= 3)
    expect(failed()?.message).toBe('MountVolume.SetUp failed for volume "conf" : configmap "late" not found')
    expect(statusOf(namespace, 'p')?.state.waiting?.reason).toBe('ContainerCreating')
    create({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'late', namespace },
      data: { a: 'from the map\n' },
    })
    await sandbox.until(
      'CreateContainerConfigError',
      () => statusOf(namespace, 'p')?.state.waiting?.reason === 'CreateContainerConfigError',
    )
    expect(statusOf(namespace, 'p')?.state.waiting?.message).toBe('secret "late" not found')
    create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'late', namespace },
      stringData: { token: 'from the secret' },
    })
    await succeeded(namespace, 'p')
    expect(sandbox.podLog(namespace, 'p', 'main')).toBe('from the map\nfrom the secret\n')
  })

  test('a claim of an unknown class stays Pending with ProvisioningFailed, and its pod is not scheduled', async () => {
    const namespace = await freshNamespace()
    create({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'c', namespace },
      spec: { storageClassName: 'gold', accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
    })
    create(
      podObject(namespace, 'p', {
        volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }],
        containers: [shell('true')],
      }),
    )
    await sandbox.until('ProvisioningFailed', () =>
      sandbox
        .events(namespace)
        .some(e => e === 'ProvisioningFailed PersistentVolumeClaim/c: storageclass.storage.k8s.io "gold" not found'),
    )
    await sandbox.until('unschedulable', () =>
      conditionOf(podNow(namespace, 'p'), 'PodScheduled')?.message?.includes(
        'pod has unbound immediate PersistentVolumeClaims',
      ),
    )
    expect(sandbox.api.store.peek('persistentvolumeclaims', namespace, 'c')?.status).toMatchObject({ phase: 'Pending' })
  })

  test('a program that is missing, a process killed for memory, and a liveness probe that fails', async () => {
    const namespace = await freshNamespace()
    create(
      podObject(namespace, 'absent', { containers: [{ name: 'main', image: 'x:1', command: ['no-such-program'] }] }),
    )
    create(
      podObject(namespace, 'hungry', {
        containers: [{ ...shell('kill -KILL $$$$'), resources: { limits: { memory: '1Gi' } } }],
      }),
    )
    const livenessProbe = { httpGet: { path: '/', port: 9 }, periodSeconds: 1, failureThreshold: 2 }
    create(
      podObject(namespace, 'dead', { restartPolicy: 'Always', containers: [{ ...shell(forever), livenessProbe }] }),
    )
    const end = (pod: string) => sandbox.until(`${pod} ends`, () => statusOf(namespace, pod)?.state.terminated)
    expect(await end('absent')).toMatchObject({
      exitCode: 128,
      reason: 'StartError',
      message: expect.stringContaining('executable file not found in $PATH'),
    })
    expect(await end('hungry')).toMatchObject({ exitCode: 137, reason: 'OOMKilled' })
    await sandbox.until('a restart', () => statusOf(namespace, 'dead')?.restartCount === 1)
    expect(sandbox.events(namespace).join('\n')).toMatch(
      /Unhealthy Pod\/dead: Liveness probe failed: Get "http:\/\/127[\d.]+:9\/": dial tcp 127[\d.]+:9: connect: connection refused/,
    )
    expect(sandbox.events(namespace)).toContain(
      'Killing Pod/dead: Container main failed liveness probe, will be restarted',
    )
    sandbox.api.store.delete('pods', namespace, 'dead')
  })
})

/** GET .../log, read to its end; `first` resolves at the first byte. */
async function log(
  namespace: string,
  pod: string,
  query: string,
  onText: (text: string) => void = () => undefined,
): Promise<{ status: number; text: string }> {
  const url = new URL(`/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`, sandbox.api.url)
  return new Promise((resolve, reject) => {
    get(url, { ca: sandbox.api.caPem, headers: { authorization: `Bearer ${sandbox.api.adminToken}` } }, response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
        onText(text)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    }).on('error', reject)
  })
}

const run = (namespace: string, pod: string, argv: readonly string[]) => {
  const api = new Api(loadKubeconfig({ kind: 'content', yaml: sandbox.kubeconfig }, undefined, {}), silentLog)
  const out: Buffer[] = []
  const target = { namespace, pod, container: 'main' }
  return exec(api, target, argv, { signal: AbortSignal.timeout(20_000), onStdout: chunk => out.push(chunk) }).then(
    r => ({ ...r, stdout: Buffer.concat(out).toString('utf8') }),
  )
}

describe('containers', () => {
  test('mount paths are rewritten in command, arguments, environment, scripts and exec, and nowhere else', async () => {
    const namespace = await freshNamespace()
    create({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'files', namespace },
      data: { 'run.sh': '#!/bin/sh\ncat /data/sub/file; echo "$RESULT|$URL|$1"\n', 'notes.txt': 'see /data/sub\n' },
    })
    create({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace },
      spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
    })
    const volumes = [
      {
        name: 'files',
        configMap: {
          name: 'files',
          defaultMode: 0o555,
          items: [
            { key: 'run.sh', path: 'bin/run.sh' },
            { key: 'notes.txt', path: 'notes.txt' },
          ],
        },
      },
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
    ]
    const volumeMounts = [
      { name: 'files', mountPath: '/opt/files' },
      { name: 'data', mountPath: '/data' },
    ]
    const writer = {
      ...shell('mkdir -p /data/sub && echo written > /data/sub/file && cp /tmp/x /data/none 2>/dev/null || true'),
      volumeMounts,
    }
    create(podObject(namespace, 'writer', { volumes, containers: [writer] }))
    await succeeded(namespace, 'writer')
    const env = [
      { name: 'FOLDER', value: '/data/sub' },
      { name: 'RESULT', value: '$(FOLDER)/out:$$(FOLDER)' },
      { name: 'URL', value: 'http://host/data/sub?x=/database' },
    ]
    const reader = {
      ...shell(`sh /opt/files/bin/run.sh "--out=/data/sub"; cat /opt/files/notes.txt; ${forever}`),
      env,
      volumeMounts,
    }
    create(podObject(namespace, 'reader', { volumes, containers: [reader], terminationGracePeriodSeconds: 5 }))
    await sandbox.until(
      'it has read',
      () =>
        podNow(namespace, 'reader')?.status?.phase === 'Running' &&
        sandbox.events(namespace).some(e => e.startsWith('Started Pod/reader')),
    )
    expect(
      await run(namespace, 'reader', [
        'sh',
        '-c',
        'until [ -e "$0" ]; do sleep 0.05; done; cat /data/sub/file; exit 3',
        '/data/sub/file',
      ]),
    ).toMatchObject({ exitCode: 3, stdout: 'written\n' })
    await eventually(() => sandbox.podLog(namespace, 'reader', 'main').includes('see'))
    const lines = (await log(namespace, 'reader', '')).text.split('\n')
    const folder = `${sandbox.workDir}/pods/${podNow(namespace, 'reader')?.metadata.uid}/main.0`
    expect(lines[0]).toBe('written')
    expect(lines[1]).toBe(`${folder}/data/sub/out:$(FOLDER)|http://host/data/sub?x=/database|--out=${folder}/data/sub`)
    expect(lines[2]).toBe('see /data/sub')
    expect((await run(namespace, 'reader', ['no-such-program'])).exitCode).toBe(127)
    // The claim's folder goes with the claim, once no pod uses it.
    const claim = path.join(
      sandbox.workDir,
      'claims',
      sandbox.api.store.peek('persistentvolumeclaims', namespace, 'data')!.metadata.uid!,
    )
    expect(existsSync(claim)).toBe(true)
    for (const pod of ['writer', 'reader']) sandbox.api.store.delete('pods', namespace, pod)
    sandbox.api.store.delete('persistentvolumeclaims', namespace, 'data')
    await sandbox.until(
      'the claim is gone',
      () => sandbox.api.store.peek('persistentvolumeclaims', namespace, 'data') === undefined,
    )
    await eventually(() => !existsSync(claim))
  })

  test('the downward API, and a token that may do what the roles of its ServiceAccount say', async () => {
    const namespace = await freshNamespace()
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] }]
    create({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'reader', namespace }, rules })
    create({
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name: 'reader', namespace } },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
    })
    const field = (fieldPath: string) => ({ valueFrom: { fieldRef: { fieldPath } } })
    const env = [
      { name: 'IP', ...field('status.podIP') },
      { name: 'NAME', ...field('metadata.name') },
      { name: 'NODE', ...field('spec.nodeName') },
    ]
    const ask = `const { readFileSync: f } = require('fs'); const e = process.env
      const get = p => new Promise(r => require('https').get({ host: e.KUBERNETES_SERVICE_HOST, port: e.KUBERNETES_SERVICE_PORT, path: '/api/v1/namespaces/${namespace}/' + p, ca: f(e.SANDBOX_CA_FILE), headers: { authorization: 'Bearer ' + f(e.SANDBOX_TOKEN_FILE) } }, a => r(a.resume().statusCode)))
      get('pods').then(a => get('secrets').then(b => console.log([e.IP === e.SANDBOX_POD_IP, e.NAME, e.NODE, a, b].join(' '))))`
    create(
      podObject(namespace, 'p', {
        containers: [{ name: 'main', image: 'x:1', command: [process.execPath, '-e', ask], env }],
      }),
    )
    await succeeded(namespace, 'p')
    expect(sandbox.podLog(namespace, 'p', 'main')).toMatch(/^true p (h100|cpu)-[ab] 200 403\n$/)
  })

  test('a followed log comes as it is written and ends with the container', async () => {
    const namespace = await freshNamespace()
    create(
      podObject(namespace, 'p', {
        containers: [shell('echo one; until [ -e /tmp/go ]; do sleep 0.02; done; echo two; printf three')],
      }),
    )
    await sandbox.until('it runs', () => statusOf(namespace, 'p')?.state.running)
    let told = false
    const followed = await log(namespace, 'p', 'follow=true', text => {
      if (text !== 'one\n' || told) return
      told = true
      void run(namespace, 'p', ['touch', '/tmp/go'])
    })
    expect(told).toBe(true)
    expect(followed.text).toBe('one\ntwo\nthree')
    expect((await log(namespace, 'p', 'tailLines=2')).text).toBe('two\nthree')
    expect((await log(namespace, 'p', 'timestamps=true&tailLines=1')).text).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z three$/)
  })

  test('SIGTERM reaches a process that handles it; a shell without a trap stays for its whole grace period', async () => {
    const namespace = await freshNamespace()
    const pod = (name: string, script: string) =>
      podObject(namespace, name, { terminationGracePeriodSeconds: 1, containers: [shell(script)] })
    create(pod('polite', forever))
    create(pod('deaf', 'while :; do sleep 0.05; done'))
    await sandbox.until('both run', () => ['polite', 'deaf'].every(p => statusOf(namespace, p)?.state.running))
    await run(namespace, 'polite', ['true'])
    const gone = async (name: string) => {
      const began = performance.now()
      sandbox.api.store.delete('pods', namespace, name)
      await sandbox.until(`${name} is gone`, () => podNow(namespace, name) === undefined)
      return performance.now() - began
    }
    const [polite, deaf] = await Promise.all([gone('polite'), gone('deaf')])
    expect(deaf).toBeGreaterThanOrEqual(990)
    expect(polite).toBeLessThan(deaf)
  })

  test('a pod with restartPolicy Never ends when its containers do: sidecars are stopped, the phase is that of the others', async () => {
    const namespace = await freshNamespace()
    const sidecar = { ...shell(forever), name: 'sidecar', restartPolicy: 'Always' }
    create(
      podObject(namespace, 'p', {
        initContainers: [sidecar],
        containers: [{ ...shell('exit 0') }, { ...shell('exit 4'), name: 'other' }],
      }),
    )
    await sandbox.until('Failed', () => podNow(namespace, 'p')?.status?.phase === 'Failed')
    expect(statusOf(namespace, 'p', 'other')?.state.terminated?.exitCode).toBe(4)
    expect(statusOf(namespace, 'p', 'sidecar')?.state.terminated).toBeDefined()
  })
})

describe('nothing stays behind', () => {
  // A process that nobody has waited for yet is dead all the same.
  const alive = (pid: number): boolean => {
    const stat = `/proc/${pid}/stat`
    return existsSync(stat) && !/\) Z /.test(readFileSync(stat, 'utf8'))
  }

  test('a deleted namespace takes its pods and processes with it', async () => {
    const namespace = await freshNamespace()
    const before = new Set(sandbox.pids())
    create(web(namespace, { replicas: 1 }))
    await available(namespace, 1)
    const own = sandbox.pids().filter(pid => !before.has(pid))
    expect(own.length).toBeGreaterThanOrEqual(2)
    sandbox.api.store.delete('namespaces', undefined, namespace)
    await sandbox.until(
      'the namespace is gone',
      () => sandbox.api.store.peek('namespaces', undefined, namespace) === undefined,
    )
    expect(own.filter(alive)).toEqual([])
    expect(sandbox.snapshot().filter(l => l.includes(` ${namespace}/`))).toEqual([])
  })

  test('close ends every process, their children too, and removes the folder', async () => {
    const own = await startSandbox({ gateway: false })
    own.api.store.create(podObject('default', 'p', { containers: [shell('sleep 1000 & echo $!; trap "" TERM; wait')] }))
    const line = await own
      .until('it runs', () => {
        const running = (own.api.store.peek('pods', 'default', 'p') as Pod).status?.containerStatuses?.[0]?.state
          .running
        return running && own.podLog('default', 'p', 'main')
      })
      .catch(() => '')
    const child = Number(line || own.podLog('default', 'p', 'main'))
    const pids = [...own.pids(), child]
    expect(pids).toHaveLength(2)
    await own.close()
    expect(pids.filter(alive)).toEqual([])
    expect(existsSync(own.workDir)).toBe(false)
  })

  test('the containers die with a sandbox that is killed', async () => {
    const script = `
      const { startSandbox } = await import(${JSON.stringify(path.join(import.meta.dirname, '../sandbox/sandbox.ts'))})
      const s = await startSandbox({ gateway: false })
      s.api.store.create({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'default' }, spec: { containers: [{ name: 'main', image: 'x:1', command: ['sleep', '1000'] }] } })
      await s.until('it runs', () => s.pids().length > 0)
      console.log(JSON.stringify({ pids: s.pids(), workDir: s.workDir }))`
    const parent = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const text = await new Promise<string>(resolve =>
      parent.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
    )
    const { pids, workDir } = JSON.parse(text) as { pids: number[]; workDir: string }
    expect(pids.filter(alive)).toEqual(pids)
    parent.kill('SIGKILL')
    await eventually(() => !pids.some(alive) && !existsSync(workDir))
  })
})
