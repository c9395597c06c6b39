import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Api } from '../../src/cluster/api.ts'
import type { ApiError } from '../../src/cluster/api-error.ts'
import { applyStack } from '../../src/cluster/apply.ts'
import { setReplicas } from '../../src/cluster/autoscaling.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { apply, create, remove, replace } from '../../src/cluster/objects.ts'
import { silentLog } from '../../src/log.ts'
import { rights } from '../../src/platform/rbac.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import { planOf, specWith } from '../unit/stack/specs.ts'

// What test/controlplane compares with a real server, for those who have only the sandbox.
const namespace = 'llm-d-vezio'
let server: ApiServer
let admin: Api
const apis: Api[] = []
const open = (token?: string): Api => {
  const yaml = server.kubeconfig(token === undefined ? {} : { token })
  const api = new Api(loadKubeconfig({ kind: 'content', yaml }, undefined, {}), silentLog, { firstDelayMs: 20 })
  apis.push(api)
  return api
}
const runner = (without?: string): Api => {
  const rules = rights.standup
    .filter(r => r.resource !== without)
    .map(({ group, resource, subresource, verbs }) => ({
      ...{ apiGroups: [group], verbs, namespaces: [namespace] },
      resources: [subresource === undefined ? resource : `${resource}/${subresource}`],
    }))
  return open(server.tokens.add({ name: `runner${without ?? ''}`, rules }))
}
beforeAll(async () => {
  server = await startApiServer()
  server.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  admin = open()
})
afterAll(async () => {
  await Promise.all(apis.map(api => api.close()))
  await server.close()
})
const options = () => ({ signal: AbortSignal.timeout(20_000), log: silentLog })
const failure = (work: Promise<unknown>): Promise<ApiError> =>
  work.then(
    () => expect('success').toBe('failure'),
    e => e,
  ) as never
const access = () => planOf(specWith()).filter(o => o.apiVersion === 'rbac.authorization.k8s.io/v1')
const deployment = (name: string, spec: object = {}): KubeObject => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace } },
  spec: {
    selector: { matchLabels: { a: 'b' } },
    template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    ...spec,
  },
})

test('a Role is refused to who lacks one of its rights, and a RoleBinding of a Role that is not there is not found', async () => {
  const api = runner('inferenceobjectives')
  const [role, binding] = access()
  const absent = await failure(apply(api, binding!))
  expect(absent).toMatchObject({ status: 404 })
  expect(absent.message).toContain(`rolebindings.rbac.authorization.k8s.io "${role!.metadata.name}" not found`)
  const exceeding = await failure(apply(api, role!))
  expect(exceeding).toMatchObject({ status: 403 })
  expect(exceeding.message).toContain(
    'is attempting to grant RBAC permissions not currently held:\n{APIGroups:["inference.networking.x-k8s.io"], Resources:["inferenceobjectives"], Verbs:["get" "watch" "list"]}',
  )
})

test('the RoleBinding of a stack waits for its Role, however slow that is', async () => {
  server.faults.add({ match: r => r.method === 'PATCH' && r.path.includes('/roles/'), delayMs: 300, times: 1 })
  const result = await applyStack(runner(), access(), new Map(), options())
  expect(result.created).toHaveLength(2)
})

test('a scale of a Deployment whose number nobody owns is not written down, and is in nobody’s way', async () => {
  await apply(admin, deployment('free'))
  await setReplicas(admin, namespace, 'free', 3, options().signal)
  const after = await apply(admin, deployment('free', { replicas: 2 }))
  expect(after.metadata.managedFields).toHaveLength(1)
  expect(after.spec).toMatchObject({ replicas: 2 })
})

test('several conflicts are listed under their owner', async () => {
  const map = (value: string): KubeObject => ({
    ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm', namespace }, data: { a: value, b: value } },
  })
  await admin.request('PATCH', `/api/v1/namespaces/${namespace}/configmaps/m`, {
    ...{ query: { fieldManager: 'A' }, contentType: 'application/apply-patch+yaml', body: map('1') },
  })
  const refused = await failure(apply(admin, map('2')))
  expect(refused.message).toContain('Apply failed with 2 conflicts: conflicts with "A":\n- .data.a\n- .data.b')
  expect(refused.causes.map(c => c.message)).toEqual(['conflict with "A"', 'conflict with "A"'])
})

test('everything that is wrong with a changed selector is said at once', async () => {
  await apply(admin, deployment('fast'))
  const refused = await failure(apply(admin, deployment('fast', { selector: { matchLabels: { a: 'c' } } })))
  expect(refused.causes.map(c => c.field)).toEqual(
    expect.arrayContaining(['spec.template.metadata.labels', 'spec.selector']),
  )
})

test('a group that is not served answers in plain text, a kind of a built-in group with a Status', async () => {
  const get = (path: string) => failure(admin.request('GET', path))
  expect(await get('/apis/nothing.example.com/v1/things')).toMatchObject({ status: 404, reason: '' })
  expect(await get('/apis/llmd.ai/v1alpha1/things')).toMatchObject({ status: 404, reason: '' })
  expect(await get('/apis/apps/v9/deployments')).toMatchObject({ status: 404, reason: 'NotFound' })
})

test('a Lease says which part of a time it cannot read, and what it needs to be replaced', async () => {
  const lease = (renewTime: string): KubeObject => ({
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'l', namespace }, spec: { renewTime } },
  })
  const time = await failure(create(admin, lease('2026-01-02T03:04:05.000Z')))
  expect(time.message).toContain('cannot parse ".000Z" as ".000000"')
  const made = await create(admin, lease('2026-01-02T03:04:05.000000Z'))
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/l`
  const blind = await failure(admin.request('PUT', path, { body: lease('2026-01-02T03:04:05.000000Z') }))
  expect(blind).toMatchObject({ status: 422, causes: [{ field: 'metadata.resourceVersion' }] })
  await remove(admin, made)
  const gone = await failure(replace(admin, made))
  expect(gone.message).toContain(`Key: /registry/leases/${namespace}/l, ResourceVersion: 0`)
})

test('a Deployment that no controller has seen yet has an empty status', async () => {
  expect(await apply(admin, deployment('new'))).toMatchObject({ status: {} })
})
