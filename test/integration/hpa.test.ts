import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { KubeObject } from '../../src/stack/kube.ts'
import { certificates } from '../sandbox/api/credentials.ts'
import type { Condition } from '../sandbox/controllers/objects.ts'
import { type Sandbox, startSandbox } from '../sandbox/sandbox.ts'

const syncMs = 150
let sandbox: Sandbox
/** Of each namespace: the values of the items, a status code to answer with, or nothing for a metric that is not known. */
const values = new Map<string, string[] | number>()
const asked: { namespace: string; metric: string; selector: string | null; user: unknown }[] = []
const adapter = { port: 0, close: async (): Promise<void> => undefined }

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 20, hpaSyncMs: syncMs, gateway: false })
  const { cert, key } = await certificates('127.0.0.1', ['adapter.default.svc'])
  const root = '/apis/external.metrics.k8s.io/v1beta1'
  const server = https.createServer({ cert, key }, (request, response) => {
    const url = new URL(request.url ?? '', 'https://adapter')
    const answer = (status: number, body: object) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (url.pathname === root)
      return answer(200, { kind: 'APIResourceList', groupVersion: 'external.metrics.k8s.io/v1beta1', resources: [] })
    const [, namespace = '', metric = ''] = /\/namespaces\/([^/]+)\/([^/]+)$/.exec(url.pathname) ?? []
    const selector = url.searchParams.get('labelSelector')
    asked.push({ namespace, metric, selector, user: request.headers['x-remote-user'] })
    const found = values.get(namespace)
    if (typeof found === 'number')
      return answer(found, { kind: 'Status', status: 'Failure', message: 'the adapter has a problem', code: found })
    const items = (found ?? []).map(value => ({ metricName: metric, metricLabels: {}, value }))
    answer(200, { kind: 'ExternalMetricValueList', apiVersion: 'external.metrics.k8s.io/v1beta1', metadata: {}, items })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  adapter.port = (server.address() as AddressInfo).port
  adapter.close = () =>
    new Promise(resolve => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
})
afterAll(async () => {
  await sandbox.close()
  await adapter.close()
})

const create = (object: KubeObject) => sandbox.api.store.create(object)
const object = (apiVersion: string, kind: string, namespace: string, name: string, more: object): KubeObject => ({
  ...{ apiVersion, kind, metadata: { name, namespace } },
  ...more,
})
/** Puts the adapter behind the API server; the Service has no selector, its endpoints are written by hand. */
async function registerAdapter(): Promise<void> {
  create(object('v1', 'Service', 'default', 'adapter', { spec: { ports: [{ port: 443 }] } }))
  create({
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
    metadata: { name: 'adapter-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'adapter' } },
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
    ports: [{ name: '', port: adapter.port }],
  })
  const name = 'v1beta1.external.metrics.k8s.io'
  create({
    ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name } },
    spec: {
      ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', groupPriorityMinimum: 100, versionPriority: 100 },
      ...{ service: { namespace: 'default', name: 'adapter' }, insecureSkipTLSVerify: true },
    },
  })
  await sandbox.until('the APIService is available', () => {
    const status = sandbox.api.store.peek('apiservices.apiregistration.k8s.io', undefined, name)?.status as {
      conditions?: Condition[]
    }
    return status?.conditions?.some(c => c.status === 'True')
  })
}

let namespaces = 0
/** A namespace with a Deployment `web` of that many pods, and an autoscaler for it. */
async function stack(replicas: number, spec: object = {}): Promise<string> {
  const namespace = `hpa-${++namespaces}`
  create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  await sandbox.until('the ServiceAccount', () => sandbox.api.store.peek('serviceaccounts', namespace, 'default'))
  const command = ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 0.05; done']
  const container = { name: 'main', image: 'registry.test/tool:1', command }
  create(
    object('apps/v1', 'Deployment', namespace, 'web', {
      spec: {
        ...{ replicas, selector: { matchLabels: { app: 'web' } } },
        template: { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } },
      },
    }),
  )
  await sandbox.until('the pods are ready', () => {
    const status = sandbox.api.store.peek('deployments.apps', namespace, 'web')?.status as { readyReplicas?: number }
    return (status?.readyReplicas ?? 0) === replicas
  })
  makeAutoscaler(namespace, spec)
  return namespace
}
function makeAutoscaler(namespace: string, spec: object): KubeObject {
  const metric = { name: 'desired', selector: { matchLabels: { variant_name: 'web' } } }
  return create(
    object('autoscaling/v2', 'HorizontalPodAutoscaler', namespace, 'web', {
      spec: {
        ...{ scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }, maxReplicas: 10 },
        metrics: [{ type: 'External', external: { metric, target: { type: 'AverageValue', averageValue: '1' } } }],
        behavior: { scaleUp: { stabilizationWindowSeconds: 0 }, scaleDown: { stabilizationWindowSeconds: 0 } },
        ...spec,
      },
    }),
  )
}

interface Status {
  currentReplicas?: number
  desiredReplicas?: number
  lastScaleTime?: string
  currentMetrics?: object[]
  conditions?: Condition[]
}
const statusOf = (namespace: string) =>
  (sandbox.api.store.peek('horizontalpodautoscalers.autoscaling', namespace, 'web')?.status ?? {}) as Status
const condition = (namespace: string, type: string) => statusOf(namespace).conditions?.find(c => c.type === type)
const said = (namespace: string, type: string, reason: string) =>
  sandbox.until(`${type} ${reason}`, () => {
    const found = condition(namespace, type)
    return found?.reason === reason && found
  })
const replicasOf = (namespace: string) =>
  (sandbox.api.store.peek('deployments.apps', namespace, 'web')?.spec as { replicas: number } | undefined)?.replicas
const scaledTo = (namespace: string, replicas: number) =>
  sandbox.until(`${replicas} replicas`, () => replicasOf(namespace) === replicas)
const happened = (namespace: string, event: string) =>
  sandbox.until(event, () => sandbox.events(namespace).includes(event))
const syncs = (n: number) => new Promise(resolve => setTimeout(resolve, n * syncMs + syncMs / 2))

const selector =
  '&LabelSelector{MatchLabels:map[string]string{variant_name: web,},MatchExpressions:[]LabelSelectorRequirement{},}'

test('without an external metrics API nothing is scaled, and the condition and the events say what is missing', async () => {
  const namespace = await stack(2)
  const active = await said(namespace, 'ScalingActive', 'FailedGetExternalMetric')
  const problem = `unable to get external metric ${namespace}/desired/${selector}: unable to fetch metrics from external metrics API: the server could not find the requested resource (get desired.external.metrics.k8s.io)`
  expect(active).toMatchObject({
    ...{ status: 'False', message: `the HPA was unable to compute the replica count: ${problem}` },
  })
  expect(condition(namespace, 'AbleToScale')).toMatchObject({ status: 'True', reason: 'SucceededGetScale' })
  await syncs(2)
  expect(replicasOf(namespace)).toBe(2)
  expect(statusOf(namespace)).toMatchObject({ currentReplicas: 2, desiredReplicas: 0, currentMetrics: [{ type: '' }] })
  expect(statusOf(namespace)).not.toHaveProperty('lastScaleTime')
  await happened(namespace, `FailedGetExternalMetric HorizontalPodAutoscaler/web: ${problem}`)
  await happened(
    namespace,
    `FailedComputeMetricsReplicas HorizontalPodAutoscaler/web: invalid metrics (1 invalid out of 1), first error is: failed to get desired external metric: ${problem}`,
  )
})

describe('with an adapter', () => {
  beforeAll(registerAdapter)

  test('1 to 3 to 1: the Deployment follows the metric, its pods too, and the status tells the story', async () => {
    values.set(`hpa-${namespaces + 1}`, ['1'])
    const namespace = await stack(1)
    expect(await said(namespace, 'ScalingActive', 'ValidMetricFound')).toMatchObject({
      status: 'True',
      message: `the HPA was able to successfully calculate a replica count from external metric desired(${selector})`,
    })
    await said(namespace, 'AbleToScale', 'ReadyForNewScale')
    expect(condition(namespace, 'ScalingLimited')).toMatchObject({ status: 'False', reason: 'DesiredWithinRange' })
    expect(asked.filter(a => a.namespace === namespace)[0]).toEqual({
      ...{ namespace, metric: 'desired', selector: 'variant_name=web' },
      user: 'system:serviceaccount:kube-system:horizontal-pod-autoscaler',
    })
    expect(replicasOf(namespace)).toBe(1)

    values.set(namespace, ['1500m', '1'])
    await scaledTo(namespace, 3)
    await sandbox.until('the status after it', () => statusOf(namespace).desiredReplicas === 3)
    expect(statusOf(namespace).lastScaleTime).toMatch(/^\d{4}-.*Z$/)
    const because = `New size: 3; reason: external metric desired(${selector}) above target`
    await happened(namespace, `SuccessfulRescale HorizontalPodAutoscaler/web: ${because}`)
    await sandbox.until('three pods counted', () => {
      const [metric] = statusOf(namespace).currentMetrics as { external?: { current: object } }[]
      return statusOf(namespace).currentReplicas === 3 && JSON.stringify(metric?.external?.current).includes('834m')
    })
    expect(statusOf(namespace).currentMetrics).toEqual([
      {
        type: 'External',
        external: {
          ...{ metric: { name: 'desired', selector: { matchLabels: { variant_name: 'web' } } } },
          current: { averageValue: '834m' },
        },
      },
    ])

    values.set(namespace, ['1'])
    await scaledTo(namespace, 1)
    await happened(
      namespace,
      'SuccessfulRescale HorizontalPodAutoscaler/web: New size: 1; reason: All metrics below target',
    )
    await sandbox.until('one pod', () => sandbox.api.store.peekAll('pods', namespace).length === 1)
  })

  test('an empty list is an error, not a zero, and so is an answer of the adapter that is one', async () => {
    const next = `hpa-${namespaces + 1}`
    values.set(next, [])
    const namespace = await stack(2)
    expect((await said(namespace, 'ScalingActive', 'FailedGetExternalMetric')).message).toBe(
      `the HPA was unable to compute the replica count: unable to get external metric ${namespace}/desired/${selector}: no metrics returned from external metrics API`,
    )
    await syncs(2)
    expect(replicasOf(namespace)).toBe(2)
    values.set(namespace, 500)
    await sandbox.until('the answer of the adapter', () =>
      condition(namespace, 'ScalingActive')?.message?.endsWith('external metrics API: the adapter has a problem'),
    )
    values.set(namespace, ['1'])
    await scaledTo(namespace, 1)
    expect(await said(namespace, 'ScalingActive', 'ValidMetricFound')).toMatchObject({ status: 'True' })
  })

  test('a new autoscaler goes by where the Deployment stands until its window has passed', async () => {
    const behavior = {
      scaleUp: { stabilizationWindowSeconds: 1 },
      scaleDown: { stabilizationWindowSeconds: 1 },
    }
    values.set(`hpa-${namespaces + 1}`, ['4'])
    const namespace = await stack(2, { behavior })
    const first = await said(namespace, 'AbleToScale', 'ScaleUpStabilized')
    const began = Date.now()
    expect(first.message).toContain('recent recommendations were lower than current one')
    expect(replicasOf(namespace)).toBe(2)
    await scaledTo(namespace, 4)
    expect(Date.now() - began).toBeGreaterThan(800)
    values.set(namespace, ['1'])
    await said(namespace, 'AbleToScale', 'ScaleDownStabilized')
    expect(replicasOf(namespace)).toBe(4)
    await scaledTo(namespace, 1)
  })

  test('the bounds hold, the target out of them is brought back, and at zero there is no scaling', async () => {
    values.set(`hpa-${namespaces + 1}`, ['9'])
    const namespace = await stack(1, { minReplicas: 2, maxReplicas: 3 })
    await scaledTo(namespace, 2)
    await happened(
      namespace,
      'SuccessfulRescale HorizontalPodAutoscaler/web: New size: 2; reason: Current number of replicas below Spec.MinReplicas',
    )
    await scaledTo(namespace, 3)
    expect(await said(namespace, 'ScalingLimited', 'TooManyReplicas')).toMatchObject({ status: 'True' })
    const scale = (replicas: number) =>
      sandbox.api.store.modify('deployments.apps', namespace, 'web', draft => {
        Object.assign(draft.spec as object, { replicas })
      })
    scale(4)
    await scaledTo(namespace, 3)
    scale(0)
    expect(await said(namespace, 'ScalingActive', 'ScalingDisabled')).toMatchObject({ status: 'False' })
    await syncs(2)
    expect(replicasOf(namespace)).toBe(0)
  })

  test('a target of type Value multiplies the ready pods', async () => {
    const external = { metric: { name: 'queue' }, target: { type: 'Value', value: '10' } }
    values.set(`hpa-${namespaces + 1}`, ['15'])
    const namespace = await stack(2, { metrics: [{ type: 'External', external }], maxReplicas: 3 })
    await scaledTo(namespace, 3)
    const metrics = await sandbox.until('the status', () => statusOf(namespace).currentMetrics)
    expect(metrics).toMatchObject([{ external: { current: { value: '15' } } }])
    expect(asked.find(a => a.namespace === namespace)).toMatchObject({ metric: 'queue', selector: null })
  })

  test('a target that is not there is FailedGetScale, and a scale that cannot be written FailedUpdateScale', async () => {
    values.set(`hpa-${namespaces + 1}`, ['2'])
    const namespace = await stack(1, { minReplicas: 1 })
    await scaledTo(namespace, 2)
    sandbox.faults.api.add({
      match: r => r.method === 'PUT' && r.path.endsWith('/scale'),
      ...{ status: 500, message: 'etcd is slow', times: 1 },
    })
    values.set(namespace, ['3'])
    const failed = await said(namespace, 'AbleToScale', 'FailedUpdateScale')
    expect(failed).toMatchObject({ status: 'False', message: expect.stringContaining('etcd is slow') })
    await scaledTo(namespace, 3)
    sandbox.api.store.delete('deployments.apps', namespace, 'web')
    expect(await said(namespace, 'AbleToScale', 'FailedGetScale')).toMatchObject({
      status: 'False',
      message: 'the HPA controller was unable to get the target\'s current scale: deployments.apps "web" not found',
    })
  })

  test('one metric that fails does not stop the others from scaling up, only from scaling down', async () => {
    const external = (name: string) => ({
      type: 'External',
      external: { metric: { name }, target: { type: 'AverageValue', averageValue: '1' } },
    })
    const cpu = { type: 'Utilization', averageUtilization: 80 }
    const metrics = [{ type: 'Resource', resource: { name: 'cpu', target: cpu } }, external('desired')]
    values.set(`hpa-${namespaces + 1}`, ['2'])
    const namespace = await stack(1, { metrics })
    await scaledTo(namespace, 2)
    await said(namespace, 'ScalingActive', 'ValidMetricFound')
    values.set(namespace, ['1'])
    expect((await said(namespace, 'ScalingActive', 'FailedGetResourceMetric')).message).toContain(
      'unable to get metrics for resource cpu',
    )
    expect(replicasOf(namespace)).toBe(2)
  })
})

describe('admission', () => {
  const made = (spec: object) => {
    const name = `admission-${++namespaces}`
    create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    return makeAutoscaler(name, spec).spec as { behavior?: object; minReplicas: number; metrics: object[] }
  }

  test('fills in what the real defaults are: rules only where there is behavior, and no window for down', () => {
    expect(made({ behavior: undefined })).toMatchObject({ minReplicas: 1 })
    expect(made({ behavior: undefined }).behavior).toBeUndefined()
    const percent = { type: 'Percent', value: 100, periodSeconds: 15 }
    const pods = { type: 'Pods', value: 4, periodSeconds: 15 }
    expect(made({ behavior: { scaleUp: { stabilizationWindowSeconds: 5 } } }).behavior).toEqual({
      scaleUp: { stabilizationWindowSeconds: 5, selectPolicy: 'Max', policies: [pods, percent] },
      scaleDown: { selectPolicy: 'Max', policies: [percent] },
    })
    expect(made({ metrics: undefined }).metrics).toEqual([
      { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } } },
    ])
  })

  test('refuses bounds that cross, windows that are too long, and targets that are none', () => {
    expect(() => made({ minReplicas: 3, maxReplicas: 2 })).toThrow(
      'HorizontalPodAutoscaler.autoscaling "web" is invalid: spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`',
    )
    expect(() => made({ minReplicas: 0 })).toThrow('spec.minReplicas: Invalid value: 0')
    const window = (seconds: number) => ({ behavior: { scaleUp: { stabilizationWindowSeconds: seconds } } })
    expect(() => made(window(3601))).toThrow('stabilizationWindowSeconds: Invalid value: 3601: must be less than or')
    expect(() => made(window(-1))).toThrow('stabilizationWindowSeconds: Invalid value: -1: must be greater than or')
    expect(() => made(window(3600))).not.toThrow()
    const policies = [{ type: 'Pods', value: 0, periodSeconds: 1801 }]
    expect(() => made({ behavior: { scaleDown: { policies } } })).toThrow(
      'is invalid: [spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero, spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800]',
    )
    const target = (given: object) => ({
      metrics: [{ type: 'External', external: { metric: { name: 'm' }, target: { type: 'Value', ...given } } }],
    })
    expect(() => made(target({}))).toThrow('must set either a target value for metric or a per-pod target')
    expect(() => made(target({ value: '0' }))).toThrow('target.value: Invalid value: "0": must be positive')
    expect(() => made(target({ value: '1', averageValue: '1' }))).toThrow('Forbidden: may not set both')
  })
})
