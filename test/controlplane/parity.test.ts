import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { pause } from '../../src/cluster/api.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import { startApiServiceController } from '../sandbox/controllers/apiservices.ts'
import { Cluster } from '../sandbox/controllers/cluster.ts'
import { accountToken, freshNamespace, open, raw, ring } from './ring.ts'

type Server = Parameters<typeof raw>[0]
type Json = Record<string, unknown>

let sandbox: ApiServer
let cluster: Cluster
let ns: string
let accounts: ReadonlyMap<Server, string>
beforeAll(async () => {
  sandbox = await startApiServer()
  cluster = new Cluster(sandbox.store)
  startApiServiceController(cluster, 30_000)
  const api = open()
  ns = await freshNamespace(api)
  const rules = [
    { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles', 'rolebindings'], verbs: ['create', 'patch'] },
    { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
  ]
  const name = `system:serviceaccount:${ns}:runner`
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${ns}`]
  sandbox.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: ns } })
  accounts = new Map<Server, string>([
    [ring, await accountToken(api, ns, 'runner')],
    [sandbox, sandbox.tokens.add({ name, groups, rules: rules.map(r => ({ ...r, namespaces: [ns] })) })],
  ])
  await send(ring, 'POST', rbac('roles'), { body: { metadata: { name: 'runner' }, rules } })
  await send(ring, 'POST', rbac('rolebindings'), {
    body: {
      metadata: { name: 'runner' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'runner' },
      subjects: [{ kind: 'ServiceAccount', name: 'runner', namespace: ns }],
    },
  })
  await pause(1000)
  await api.close()
}, 60_000)
afterAll(async () => {
  cluster.close()
  await sandbox.close()
})

const core = (plural: string) => `/api/v1/namespaces/${ns}/${plural}`
const apps = (plural: string) => `/apis/apps/v1/namespaces/${ns}/${plural}`
const rbac = (plural: string) => `/apis/rbac.authorization.k8s.io/v1/namespaces/${ns}/${plural}`
const leases = (name = '') => `/apis/coordination.k8s.io/v1/namespaces/${ns}/leases/${name}`.replace(/\/$/, '')
const hpas = (name: string) => `/apis/autoscaling/v2/namespaces/${ns}/horizontalpodautoscalers/${name}`

interface Sent {
  /** What of the answer both must agree on. */
  seen: Json
  body: Json & { metadata: Json }
}
/** Times, uids and versions differ from server to server and are hidden. */
const hide = (text: string) =>
  text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UID').replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
async function send(
  server: Server,
  method: string,
  path: string,
  options: Parameters<typeof raw>[3] = {},
): Promise<Sent> {
  const answer = await raw(server, method, path, options)
  if (!answer.type.includes('json'))
    return { seen: { status: answer.status, type: answer.type, text: hide(answer.text) }, body: { metadata: {} } }
  const body = JSON.parse(answer.text) as Sent['body']
  const { reason, message, details } = body
  const failed = body.kind === 'Status' && answer.status >= 300
  const seen = failed
    ? { reason, message: hide(String(message)), details: JSON.parse(hide(JSON.stringify(details ?? {}))) }
    : {}
  return { seen: { status: answer.status, ...seen }, body }
}
const apply = (server: Server, path: string, body: object, query = 'fieldManager=A') =>
  send(server, 'PATCH', `${path}?${query}`, { body, type: 'application/apply-patch+yaml' })
const merge = (server: Server, path: string, body: object) =>
  send(server, 'PATCH', path, { body, type: 'application/merge-patch+json' })

/** The same requests to both servers: the real one is right. */
function same(name: string, script: (server: Server) => Promise<unknown>): void {
  test(name, async () => {
    const wanted = await script(ring)
    expect(await script(sandbox)).toEqual(wanted)
  })
}

const named = (apiVersion: string, kind: string, name: string, rest: object) => ({
  ...{ apiVersion, kind, metadata: { name, namespace: ns } },
  ...rest,
})
const deployment = (name: string, spec: object = {}, container: object = {}) =>
  named('apps/v1', 'Deployment', name, {
    spec: {
      selector: { matchLabels: { a: 'b' } },
      template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i', ...container }] } },
      ...spec,
    },
  })
const managers = ({ body }: Sent) =>
  ((body.metadata.managedFields ?? []) as Json[])
    .map(m =>
      [m.manager, m.operation, m.subresource ?? '', 'f:replicas' in ((m.fieldsV1 as Json)['f:spec'] as object)].join(
        ' ',
      ),
    )
    .sort()

describe('fields', () => {
  same('an unknown field is refused by a strict apply, create, replace and patch', async server => {
    const typo = deployment('typo', { replica: 2 })
    await apply(server, `${apps('deployments')}/there`, deployment('there'))
    return [
      (await apply(server, `${apps('deployments')}/typo`, typo, 'fieldManager=A&fieldValidation=Strict')).seen,
      (await send(server, 'POST', `${apps('deployments')}?fieldValidation=Strict`, { body: typo })).seen,
      (
        await send(server, 'PUT', `${apps('deployments')}/there?fieldValidation=Strict`, {
          body: deployment('there', { replica: 2 }),
        })
      ).seen,
    ]
  })
  same('an environment variable that is there twice is refused by an apply', async server => {
    const env = [
      { name: 'X', value: '1' },
      { name: 'X', value: '2' },
    ]
    return (await apply(server, `${apps('deployments')}/twice`, deployment('twice', {}, { env }))).seen
  })
  same('a conflict names the other manager and the field', async server => {
    const path = `${core('configmaps')}/shared`
    const map = (value: string) => named('v1', 'ConfigMap', 'shared', { data: { a: value, b: value } })
    await apply(server, path, map('1'))
    return [
      (await apply(server, path, map('2'), 'fieldManager=B')).seen,
      (await apply(server, path, map('1'), 'fieldManager=B')).seen,
    ]
  })
  same('who scales is written down only where the number had an owner', async server => {
    const path = (name: string) => `${apps('deployments')}/${name}`
    await apply(server, path('free'), deployment('free'))
    await apply(server, path('fixed'), deployment('fixed', { replicas: 2 }))
    const seen: unknown[] = []
    for (const name of ['free', 'fixed']) {
      seen.push((await merge(server, `${path(name)}/scale?fieldManager=S`, { spec: { replicas: 3 } })).seen)
      seen.push(managers(await send(server, 'GET', path(name))))
      seen.push((await apply(server, path(name), deployment(name, { replicas: 1 }))).seen)
      seen.push((await apply(server, path(name), deployment(name))).body.spec as { replicas: number })
    }
    return seen.map(s => (typeof s === 'object' && s !== null && 'replicas' in s ? s.replicas : s))
  })
})

describe('admission', () => {
  same('what may not change is named', async server => {
    await apply(server, `${apps('deployments')}/fast`, deployment('fast'))
    const other = { selector: { matchLabels: { a: 'c' } } }
    return [
      (await merge(server, `${apps('deployments')}/fast`, { spec: other })).seen,
      (await apply(server, `${apps('deployments')}/fast2`, deployment('fast2', other))).seen,
    ]
  })
  same('an HPA with a wrong number is refused, field by field', async server => {
    const hpa = (change: Json) =>
      named('autoscaling/v2', 'HorizontalPodAutoscaler', 'h', {
        spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd' }, maxReplicas: 3, ...change },
      })
    const window = { scaleUp: { stabilizationWindowSeconds: 3601 } }
    const period = { scaleDown: { policies: [{ type: 'Pods', value: 1, periodSeconds: 1801 }] } }
    const external = { metric: { name: 'm' }, target: { type: 'AverageValue' } }
    const seen: unknown[] = []
    for (const change of [
      { maxReplicas: 0 },
      { minReplicas: 5 },
      { behavior: window },
      { behavior: period },
      { metrics: [{ type: 'External', external }] },
    ])
      seen.push((await apply(server, hpas('h'), hpa(change))).seen)
    return seen
  })
  same('a namespace, a kind and a group that are not there', async server => [
    (await send(server, 'POST', '/api/v1/namespaces/nowhere/configmaps', { body: { metadata: { name: 'x' } } })).seen,
    (await send(server, 'GET', `${core('configmaps')}/nothing`)).seen,
    (await send(server, 'GET', core('nothings'))).seen,
    (await send(server, 'GET', '/apis/nothing.example.com/v1')).seen,
    (await send(server, 'GET', '/apis/nothing.example.com/v1/namespaces/x/things')).seen,
    (await send(server, 'GET', '/apis/apps/v9/namespaces/x/deployments')).seen,
    (await send(server, 'GET', '/apis/apps/v1/namespaces/x/nothings')).seen,
    (await send(server, 'GET', '/apis/llmd.ai/v1alpha1/namespaces/x/nothings')).seen,
  ])
  same('a delete with another uid or version spares the object', async server => {
    await apply(server, `${core('configmaps')}/kept`, named('v1', 'ConfigMap', 'kept', {}))
    const uid = '00000000-0000-0000-0000-000000000000'
    const seen = async (preconditions: object) => {
      const { status, reason } = (
        await send(server, 'DELETE', `${core('configmaps')}/kept`, { body: { preconditions } })
      ).seen
      return { status, reason }
    }
    return [
      await seen({ uid }),
      await seen({ resourceVersion: '1' }),
      (await send(server, 'GET', `${core('configmaps')}/kept`)).seen,
    ]
  })
})

describe('what a client sees of a write', () => {
  same('a delete answers with a Status, and with the object where something holds it', async server => {
    const map = named('v1', 'ConfigMap', 'd', {})
    const held = { ...map, metadata: { ...map.metadata, finalizers: ['example.com/hold'] } }
    const seen: unknown[] = []
    for (const [path, object, body] of [
      [`${core('configmaps')}/d`, map, {}],
      [`${apps('deployments')}/d`, deployment('d'), { propagationPolicy: 'Background' }],
      [`${apps('deployments')}/d`, deployment('d'), { propagationPolicy: 'Foreground' }],
      [`${core('configmaps')}/d`, held, {}],
    ] as const) {
      await apply(server, path, object)
      const { seen: status, body: answer } = await send(server, 'DELETE', path, { body })
      const { finalizers, deletionGracePeriodSeconds, generation } = answer.metadata
      seen.push([status, answer.kind, answer.status, finalizers, deletionGracePeriodSeconds, generation])
      if (finalizers) await merge(server, path, { metadata: { finalizers: null } })
      seen.push((await send(server, 'GET', path)).seen)
    }
    return seen.map(s => JSON.parse(JSON.stringify(s).replace(/"status":\{.*?\}/g, '')))
  })
  same('names and labels that are no names and labels are refused', async server => {
    const reasons = async (object: KubeObject) => {
      const { status, reason, details } = (await send(server, 'POST', core('configmaps'), { body: object })).seen
      const { causes } = details as { causes: { reason: string; field: string }[] }
      return [status, reason, causes.map(c => [c.reason, c.field])]
    }
    const map = (metadata: KubeObject['metadata']): KubeObject => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata })
    return [
      await reasons(map({ name: 'Upper' })),
      await reasons(map({ name: 'x'.repeat(254) })),
      await reasons(map({ name: 'l', labels: { a: 'x'.repeat(64) } })),
      await reasons(map({ name: 'l', labels: { a: 'a b' } })),
    ]
  })
  same('a strict merge patch with an unknown field is refused', async server => {
    const path = `${apps('deployments')}/patched`
    await apply(server, path, deployment('patched'))
    const { status, reason } = (await merge(server, `${path}?fieldValidation=Strict`, { spec: { replica: 2 } })).seen
    return [status, reason]
  })
  same('an access review says yes or no', async server => {
    const token = accounts.get(server)!
    const ask = async (resource: string, verb: string, subresource?: string) => {
      const body = {
        ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
        spec: { resourceAttributes: { group: '', resource, subresource, verb, namespace: ns } },
      }
      const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
      const { seen, body: answer } = await send(server, 'POST', path, { body, token })
      return [seen, answer.kind, (answer.status as Json).allowed]
    }
    return [await ask('pods', 'get'), await ask('pods', 'get', 'log'), await ask('pods', 'list'), await ask('x', 'get')]
  })
})

describe('leases', () => {
  const lease = (name: string, renewTime: string, metadata: object = {}) => ({
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
    metadata: { name, namespace: ns, ...metadata },
    spec: { holderIdentity: 'a', renewTime },
  })
  const micro = '2026-01-02T03:04:05.000000Z'
  same('a time has six digits after the point, no more and no fewer', async server => {
    const seen: unknown[] = []
    for (const [i, time] of [micro, '2026-01-02T03:04:05.000Z', '2026-01-02T03:04:05Z', 'soon'].entries())
      seen.push((await send(server, 'POST', leases(), { body: lease(`t${i}`, time) })).seen)
    return seen
  })
  same('a PUT makes what is not there, but not what had a uid, and needs a version for what is there', async server => {
    const made = await send(server, 'PUT', leases('p'), { body: lease('p', micro) })
    const { uid, resourceVersion } = made.body.metadata
    const blind = await send(server, 'PUT', leases('p'), { body: lease('p', micro) })
    const stale = await send(server, 'PUT', leases('p'), { body: lease('p', micro, { resourceVersion: '1' }) })
    const twice = await send(server, 'POST', leases(), { body: lease('p', micro) })
    await send(server, 'DELETE', leases('p'))
    const gone = await send(server, 'PUT', leases('p'), { body: lease('p', micro, { uid, resourceVersion }) })
    return [made, blind, stale, twice, gone].map(a => a.seen)
  })
})

describe('rights', () => {
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'more' }
  const role = named('rbac.authorization.k8s.io/v1', 'Role', 'more', {
    rules: [
      { apiGroups: ['apps'], resources: ['deployments', 'replicasets'], verbs: ['watch', 'get', 'list'] },
      { apiGroups: [''], resources: ['pods/log', 'pods'], verbs: ['get', 'list'] },
    ],
  })
  const binding = named('rbac.authorization.k8s.io/v1', 'RoleBinding', 'more', { roleRef, subjects: [] })
  same('nobody grants what they do not hold, or binds a Role that is not there', async server => {
    const token = accounts.get(server)!
    const type = 'application/apply-patch+yaml'
    const bind = () =>
      send(server, 'PATCH', `${rbac('rolebindings')}/more?fieldManager=A`, { body: binding, token, type })
    const absent = await bind()
    const exceeding = await send(server, 'PATCH', `${rbac('roles')}/more?fieldManager=A`, { body: role, token, type })
    await apply(server, `${rbac('roles')}/more`, role)
    return [absent, exceeding, await bind()].map(a => a.seen)
  })
  same('a refusal names who, what and where; a wrong token is 401', async server => {
    const token = accounts.get(server)!
    return [
      (await send(server, 'GET', core('secrets'), { token })).seen,
      (await send(server, 'GET', '/api/v1/nodes', { token })).seen,
      (await send(server, 'POST', apps('deployments'), { token, body: deployment('x') })).seen,
      (await send(server, 'GET', `${core('pods')}/none/log`, { token })).seen,
      (await send(server, 'GET', core('pods'), { token: 'wrong' })).seen,
    ]
  })
})

describe('the external metrics API', () => {
  const group = '/apis/external.metrics.k8s.io/v1beta1'
  same('which nobody registered is not found; which nobody serves is unavailable', async server => {
    const metric = `${group}/namespaces/${ns}/m`
    const before = [(await send(server, 'GET', group)).seen, (await send(server, 'GET', metric)).seen]
    const service = named('v1', 'Service', 'adapter', { spec: { ports: [{ name: 'https', port: 443 }] } })
    await apply(server, `${core('services')}/adapter`, service)
    const path = '/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io'
    await apply(server, path, {
      ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService' },
      metadata: { name: 'v1beta1.external.metrics.k8s.io' },
      spec: {
        ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', groupPriorityMinimum: 100, versionPriority: 100 },
        ...{ insecureSkipTLSVerify: true, service: { namespace: ns, name: 'adapter' } },
      },
    })
    let conditions: Json[] = []
    for (const end = Date.now() + 15_000; conditions.length === 0 && Date.now() < end; await pause(50))
      conditions = (((await send(server, 'GET', path)).body.status as Json)?.conditions ?? []) as Json[]
    const found = conditions.map(({ type, status, reason, message }) => ({ type, status, reason, message }))
    const after = [(await send(server, 'GET', group)).seen, (await send(server, 'GET', metric)).seen]
    await send(server, 'DELETE', path)
    return [...before, ...found, ...after]
  })
})
