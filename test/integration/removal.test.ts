import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { purgeKinds, type RemovalRequest, removeStack } from '../../src/cluster/remove.ts'
import { resources } from '../../src/cluster/resources.ts'
import { parseInputs, type TeardownInputs } from '../../src/inputs.ts'
import { silentLog } from '../../src/log.ts'
import type { Session } from '../../src/modes/session.ts'
import { teardown } from '../../src/modes/teardown.ts'
import { inventoryName, type KubeObject, stackLabel } from '../../src/stack/kube.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import { planOf, specWith } from '../unit/stack/specs.ts'

const spec = specWith()
const { namespace, stack } = spec
const labels = { [stackLabel]: stack }

/** What a stack under the autoscaler has besides. */
const scalers: KubeObject[] = [
  {
    ...{
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'scaler', namespace, labels },
    },
    spec: { maxReplicas: 2, scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'decode' } },
  },
  { apiVersion: 'llmd.ai/v1alpha1', kind: 'VariantAutoscaling', metadata: { name: 'scaler', namespace, labels } },
  { apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor', metadata: { name: 'scaler', namespace, labels } },
]
const foreign = (kind: 'ConfigMap' | 'Service' | 'Secret', name: string): KubeObject => ({
  apiVersion: 'v1',
  kind,
  metadata: { name, namespace, labels: { app: 'somebody-elses' } },
})

let server: ApiServer
let api: Api
beforeEach(async () => {
  server = await startApiServer()
  server.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  for (const object of [...planOf(spec), ...scalers]) server.store.create(object)
  api = new Api(loadKubeconfig({ kind: 'content', yaml: server.kubeconfig() }, undefined, {}), silentLog, {
    firstDelayMs: 5,
  })
}, 30_000)
afterEach(async () => {
  await api.close()
  await server.close()
})

const request = (patch: Partial<RemovalRequest> = {}): RemovalRequest => ({
  namespaces: [namespace],
  stack,
  deep: false,
  purge: false,
  timeoutMs: 10_000,
  signal: AbortSignal.timeout(30_000),
  log: silentLog,
  ...patch,
})

/** A teardown as the command line asks for it. */
async function tearDown(more: Readonly<Record<string, string>> = {}) {
  const parsed = parseInputs({ mode: 'teardown', kubeconfig: server.kubeconfig(), namespace, ...more }, { door: 'cli' })
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  const session: Session<TeardownInputs> = {
    inputs: parsed.ok as TeardownInputs,
    ...{
      env: {},
      log: silentLog,
      signal: AbortSignal.timeout(30_000),
      out: '',
      github: undefined,
      runId: 'r',
      holder: 'cli/r',
    },
    ...{ key: 'k', leg: 'baseline', attempt: 1, touch: () => undefined },
  }
  return teardown(session)
}

/** `plural/name` of every delete that arrived, in order. */
const deletes = (): string[] =>
  server
    .requests()
    .filter(r => r.method === 'DELETE')
    .map(r => r.path.split('/').slice(-2).join('/'))
const rest = (): string[] =>
  server.store.registry
    .all()
    .filter(k => k.namespaced)
    .flatMap(k => server.store.list(k.id, namespace).map(o => `${o.kind} ${o.metadata.name}`))
    .filter(line => line !== 'ConfigMap kube-root-ca.crt' && !line.startsWith('Event '))
    .sort()

describe('what is ours goes', () => {
  test('B80: every kind of the stack goes by its label, without an inventory and without the model', async () => {
    server.store.delete('configmaps', namespace, inventoryName)
    const outcome = await tearDown()
    expect(outcome.failure).toBeUndefined()
    expect(rest()).toEqual(['PersistentVolumeClaim model-pvc', 'Secret llm-d-hf-token'])
    expect(deletes().filter(d => d.startsWith('destinationrules/'))).toHaveLength(1)
  })

  test('B79: a deep teardown leaves no object of the stack, scalers included', async () => {
    const outcome = await tearDown({ deep: 'true' })
    expect(outcome).toMatchObject({ outputs: { leftovers: '0' } })
    expect(outcome.failure).toBeUndefined()
    expect(rest()).toEqual([])
  })

  test('an inventory that somebody broke does not keep the stack alive', async () => {
    server.store.delete('configmaps', namespace, inventoryName)
    const broken = { name: inventoryName, namespace, labels }
    server.store.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: broken, data: { 'inventory.json': '{' } })
    expect((await tearDown()).failure).toBeUndefined()
    expect(rest()).toEqual(['PersistentVolumeClaim model-pvc', 'Secret llm-d-hf-token'])
  })
})

describe('what is not ours stays', () => {
  const outside: KubeObject[] = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'llm-d-autoscaler' } },
    // The label alone does not make it ours to reach into other namespaces.
    { apiVersion: 'v1', kind: 'Service', metadata: { name: 'controller', namespace: 'llm-d-autoscaler', labels } },
    { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GatewayClass', metadata: { name: 'mesh', labels } },
  ]

  test.each<Record<string, string>>([{}, { deep: 'true' }, { purge: 'true' }])(
    'B19, B78: namespaces, custom resource definitions and all that is cluster-wide stay, with %j',
    async more => {
      for (const object of outside) server.store.create(object)
      const kinds = server.store.registry.all().map(k => k.id)
      expect((await tearDown(more)).failure).toBeUndefined()
      const paths = server
        .requests()
        .filter(r => r.method === 'DELETE')
        .map(r => r.path)
      expect(paths.length).toBeGreaterThan(15)
      expect(paths.filter(p => !p.includes(`/namespaces/${namespace}/`))).toEqual([])
      expect(server.store.registry.all().map(k => k.id)).toEqual(kinds)
      expect(server.store.list('namespaces').map(n => n.metadata.name)).toEqual(
        expect.arrayContaining([namespace, 'llm-d-autoscaler']),
      )
    },
  )

  test('B82: objects of others are kept, by an ordinary teardown and by a deep one', async () => {
    server.store.create(foreign('ConfigMap', 'theirs'))
    server.store.create(foreign('Service', 'theirs'))
    server.store.create({
      ...foreign('Secret', 'other-stack'),
      metadata: { name: 'other-stack', namespace, labels: { [stackLabel]: 'another' } },
    })
    await tearDown({ deep: 'true' })
    expect(rest()).toEqual(['ConfigMap theirs', 'Secret other-stack', 'Service theirs'])
  })

  test('B82: purge empties the namespace of its 17 kinds, but for what the cluster itself puts there', async () => {
    server.store.create(foreign('ConfigMap', 'theirs'))
    server.store.create(foreign('Secret', 'theirs'))
    server.store.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kube-root-ca.crt', namespace } })
    expect(purgeKinds.filter(k => k !== 'Route')).toHaveLength(17)
    expect((await tearDown({ purge: 'true' })).failure).toBeUndefined()
    expect(rest()).toEqual([])
    expect(server.store.list('configmaps', namespace).map(o => o.metadata.name)).toEqual(['kube-root-ca.crt'])
  })
})

describe('order, failures, time', () => {
  test('B85: scalers and the route go first, the inventory last', async () => {
    await removeStack(api, request())
    const order = deletes()
    expect(
      order
        .slice(0, 3)
        .map(d => d.split('/')[0])
        .sort(),
    ).toEqual(['horizontalpodautoscalers', 'httproutes', 'variantautoscalings'])
    expect(order.at(-1)).toBe(`configmaps/${inventoryName}`)
    expect(order.filter(d => d === `configmaps/${inventoryName}`)).toHaveLength(1)
  })

  test('what only the inventory can name goes when all else is gone, and before it', async () => {
    let left: string[] = []
    const beforeInventory = async () => {
      left = rest()
    }
    await removeStack(api, request({ beforeInventory }))
    expect(left).toEqual(
      ['PersistentVolumeClaim model-pvc', 'Secret llm-d-hf-token', `ConfigMap ${inventoryName}`].sort(),
    )
    expect(rest()).not.toContain(`ConfigMap ${inventoryName}`)
  })

  test('B85: an object that a finalizer holds is named with it after the time-out, and the inventory stays', async () => {
    const pool = server.store.list('inferencepools.inference.networking.k8s.io', namespace)[0]!
    server.store.delete('inferencepools.inference.networking.k8s.io', namespace, pool.metadata.name)
    const { uid: _uid, resourceVersion: _version, ...metadata } = pool.metadata
    server.store.create({ ...pool, metadata: { ...metadata, finalizers: ['example.com/hold'] } })
    const started = Date.now()
    const removal = await removeStack(api, request({ timeoutMs: 600 }))
    expect(Date.now() - started).toBeLessThan(10_000)
    expect(removal.leftovers).toEqual([
      expect.stringMatching(/^InferencePool .* \(deletion requested, held by finalizers example\.com\/hold\)$/),
    ])
    expect(rest()).toContain(`ConfigMap ${inventoryName}`)
  })

  test('B84: a delete that fails stops no other, and fails the teardown at the end', async () => {
    server.faults.add({
      match: r => r.method === 'DELETE' && r.path.includes('/services/'),
      status: 403,
      message: 'not yours',
    })
    const services = server.store
      .list('services', namespace)
      .map(s => `Service ${s.metadata.name}`)
      .sort()
    const removal = await removeStack(api, request({ timeoutMs: 300 }))
    expect(removal.failures.map(f => f.split(':')[0]).sort()).toEqual(services)
    expect(rest()).toEqual(
      ['PersistentVolumeClaim model-pvc', 'Secret llm-d-hf-token', `ConfigMap ${inventoryName}`, ...services].sort(),
    )
    server.faults.clear()
    server.faults.add({
      match: r => r.method === 'DELETE' && r.path.includes('/services/'),
      status: 403,
      message: 'not yours',
      times: services.length,
    })
    expect((await removeStack(api, request({ timeoutMs: 300 }))).failures).toHaveLength(services.length)
  })

  test('B86: all kinds are deleted at the same time', async () => {
    const delayMs = 1000
    server.faults.add({ match: r => r.method === 'DELETE', delayMs })
    await removeStack(api, request())
    const at = server
      .requests()
      .filter(r => r.method === 'DELETE')
      .map(r => r.at)
    const group = at.slice(3, -1)
    expect(group.length).toBeGreaterThan(10)
    // Every one of them had arrived before the first was answered.
    expect(Math.max(...group) - Math.min(...group)).toBeLessThan(delayMs)
    expect(Math.min(...group) - Math.max(...at.slice(0, 3))).toBeGreaterThanOrEqual(delayMs - 50)
  })

  test('B86: model and harness in one namespace are worked on once', async () => {
    await tearDown({ namespace: `${namespace},${namespace}` })
    const all = server.requests()
    // What it lists to find its objects; the lists of the watches come after the first delete.
    const lists = all
      .slice(
        0,
        all.findIndex(r => r.method === 'DELETE'),
      )
      .filter(r => r.method === 'GET' && r.query.labelSelector !== undefined)
      .map(r => r.path)
    expect(lists).toHaveLength(new Set(lists).size)
    expect(lists.some(p => p.endsWith(`/${resources.Deployment.plural}`))).toBe(true)
    expect(deletes()).toHaveLength(new Set(deletes()).size)
  })
})
