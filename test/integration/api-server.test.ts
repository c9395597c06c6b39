import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { KubeConfig, KubernetesObjectApi } from '@kubernetes/client-node'
import WebSocket from 'ws'
import type { KubeObject } from '../../src/stack/kube.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import type { PodRuntime } from '../sandbox/runtime.ts'

type Json = Record<string, unknown>
interface Reply {
  status: number
  headers: IncomingMessage['headers']
  body: Json &
    KubeObject & { message?: string; reason?: string; items: KubeObject[]; details?: Json; spec: Json; data?: Json }
}
interface WatchLine {
  type: string
  object: KubeObject & { code?: number; reason?: string }
}

let server: ApiServer
let agent: Agent
beforeEach(async () => {
  server = await startApiServer({ bookmarkMs: 50 })
  agent = new Agent({ ca: server.caPem, keepAlive: true })
})
afterEach(async () => {
  agent.destroy()
  await server.close()
})

interface Options {
  body?: unknown
  type?: string
  token?: string
}
const core = '/api/v1/namespaces/default'
const apps = '/apis/apps/v1/namespaces/default'

function open(method: string, path: string, options: Options = {}): Promise<IncomingMessage> {
  const { body, type = 'application/json', token = server.adminToken } = options
  return new Promise((resolve, reject) => {
    const sending = body === undefined ? '' : JSON.stringify(body)
    const length = { 'content-length': Buffer.byteLength(sending) }
    const headers = { authorization: `Bearer ${token}`, 'content-type': type, 'user-agent': 'tester/1', ...length }
    const sent = request(server.url + path, { method, headers, agent }, resolve)
    sent.on('error', reject)
    sent.end(sending)
  })
}
async function call(method: string, path: string, options: Options = {}): Promise<Reply> {
  const response = await open(method, path, options)
  const content = await text(response)
  const isJson = String(response.headers['content-type']).includes('json')
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: (isJson ? JSON.parse(content) : { message: content }) as Reply['body'],
  }
}
const apply = (collection: string, object: Json, query = 'fieldManager=A') => {
  const { name } = object.metadata as { name: string }
  return call('PATCH', `${collection}/${name}?${query}`, { body: object, type: 'application/apply-patch+yaml' })
}
const merge = (path: string, body: Json) => call('PATCH', path, { body, type: 'application/merge-patch+json' })

/** Opens a watch; `next` gives its lines one by one, undefined at the end. */
async function watch(path: string) {
  const response = await open('GET', `${path}${path.includes('?') ? '&' : '?'}watch=true`)
  const lines: WatchLine[] = []
  let rest = ''
  const all = (async () => {
    for await (const chunk of response) {
      const parts = (rest + String(chunk)).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts.map(p => JSON.parse(p) as WatchLine))
    }
  })()
  let ended: unknown = false
  all.then(
    () => (ended = true),
    error => (ended = error),
  )
  const next = async (): Promise<WatchLine | undefined> => {
    for (let i = 0; i < 200 && lines.length === 0 && !ended; i++) await delay(10)
    return lines.shift()
  }
  return { next, all, close: () => response.destroy() }
}

const configMap = (data: Json, name = 'x', labels: Json = {}): Json => ({
  ...{
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, ...(Object.keys(labels).length ? { labels } : {}) },
    data,
  },
})
const podTemplate = (env: Json[] = [], container: Json = {}) => ({
  metadata: { labels: { app: 'web' } },
  spec: { containers: [{ name: 'main', image: 'nginx:1', ...(env.length ? { env } : {}), ...container }] },
})
const deployment = (spec: Json = {}): Json => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
  spec: { selector: { matchLabels: { app: 'web' } }, template: podTemplate(), ...spec },
})
const job = (command: string): Json => ({
  ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'load' } },
  spec: {
    template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'i:1', command: [command] }] } },
  },
})
const runningPod = (name = 'web', containers = ['main']): void => {
  server.store.create({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default' } },
    spec: { nodeName: 'n1', containers: containers.map(c => ({ name: c, image: 'i:1' })) },
  })
}

describe('server-side apply', () => {
  test('creates, records the manager, and writes nothing when the same is applied again', async () => {
    const claim = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'c' },
      spec: { accessModes: ['ReadWriteMany'] },
    }
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's' },
      spec: { ports: [{ port: 80 }], selector: { app: 'web' } },
    }
    for (const [collection, object] of [
      [`${apps}/deployments`, deployment()],
      [`${core}/configmaps`, configMap({ a: '1' })],
      [`${core}/services`, service],
      [`${core}/persistentvolumeclaims`, claim],
      ['/apis/batch/v1/namespaces/default/jobs', job('true')],
    ] as const) {
      const first = await apply(collection, object)
      const second = await apply(collection, object)
      expect([first.status, second.status]).toEqual([201, 200])
      expect(second.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion)
      expect(first.body.metadata.managedFields).toMatchObject([
        { manager: 'A', operation: 'Apply', fieldsType: 'FieldsV1' },
      ])
    }
  })

  test('refuses to change a field of another manager, and names it the way a server does', async () => {
    await apply(`${core}/configmaps`, configMap({ a: '1', b: '1' }))
    const refused = await apply(`${core}/configmaps`, configMap({ a: '2', b: '1' }), 'fieldManager=B')
    expect(refused.body).toMatchObject({
      ...{ kind: 'Status', status: 'Failure', reason: 'Conflict', code: 409 },
      message: 'Apply failed with 1 conflict: conflict with "A": .data.a',
      details: { causes: [{ reason: 'FieldManagerConflict', field: '.data.a', message: 'conflict with "A"' }] },
    })
    const forced = await apply(`${core}/configmaps`, configMap({ a: '2' }), 'fieldManager=B&force=true')
    expect(forced.body.data).toEqual({ a: '2', b: '1' })
    expect((await apply(`${core}/configmaps`, configMap({ a: '1', b: '1' }))).status).toBe(409)
  })

  test('removes what the manager no longer applies, unless somebody else applies it too', async () => {
    await apply(`${core}/configmaps`, configMap({ a: '1', b: '1', c: '1' }))
    await apply(`${core}/configmaps`, configMap({ c: '1' }), 'fieldManager=B')
    expect((await apply(`${core}/configmaps`, configMap({ a: '1' }))).body.data).toEqual({ a: '1', c: '1' })
  })

  test('merges keyed lists item by item and replaces plain lists', async () => {
    const at = `${apps}/deployments`
    await apply(at, deployment({ template: podTemplate([{ name: 'A', value: '1' }], { args: ['x', 'y'] }) }))
    const other = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } }
    const env = [{ name: 'B', value: '2' }]
    await apply(
      at,
      { ...other, spec: { template: { spec: { containers: [{ name: 'main', env }] } } } },
      'fieldManager=B',
    )
    const both = await apply(at, deployment({ template: podTemplate([{ name: 'A', value: '9' }], { args: ['z'] }) }))
    const [container] = (both.body.spec.template as { spec: { containers: Json[] } }).spec.containers
    expect(container).toMatchObject({
      args: ['z'],
      env: [
        { name: 'A', value: '9' },
        { name: 'B', value: '2' },
      ],
    })
    const less = await apply(at, deployment())
    expect(JSON.stringify(less.body.spec)).toContain('"env":[{"name":"B","value":"2"}]')
  })

  test('an update takes ownership of what it changes, so that a later apply conflicts', async () => {
    await apply(`${apps}/deployments`, deployment({ replicas: 1 }))
    await merge(`${apps}/deployments/web?fieldManager=scaler`, { spec: { replicas: 5 } })
    const refused = await apply(`${apps}/deployments`, deployment({ replicas: 1 }))
    expect(refused.body.message).toBe(
      'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas',
    )
    expect((await apply(`${apps}/deployments`, deployment())).body.spec.replicas).toBe(5)
  })

  test('answers 500 for duplicate list keys and for fields that a built-in kind does not have', async () => {
    const twice = await apply(
      `${apps}/deployments`,
      deployment({ template: podTemplate([{ name: 'A' }, { name: 'A' }]) }),
    )
    expect(twice.body).toMatchObject({
      code: 500,
      message:
        'failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="main"].env: duplicate entries for key [name="A"]',
    })
    const typo = await apply(`${apps}/deployments`, deployment({ replica: 2 }))
    expect(typo.status).toBe(500)
    expect(typo.body.reason).toBeUndefined()
    expect(typo.body.message).toContain(
      '(default/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema',
    )
  })

  test('a controller applies the status alone, and owns it apart from the rest', async () => {
    const at = '/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways'
    const base = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', metadata: { name: 'g' } }
    await apply(at, { ...base, spec: { gatewayClassName: 'istio' }, status: { ignored: true } })
    const body = {
      ...base,
      spec: { gatewayClassName: 'other' },
      status: { conditions: [{ type: 'Programmed', status: 'True' }] },
    }
    const type = 'application/apply-patch+yaml'
    const written = await call('PATCH', `${at}/g/status?fieldManager=istiod`, { body, type })
    expect(written.body).toMatchObject({
      metadata: { generation: 1, managedFields: [{ manager: 'A' }, { manager: 'istiod', subresource: 'status' }] },
      spec: { gatewayClassName: 'istio' },
      status: { conditions: [{ type: 'Programmed', status: 'True' }] },
    })
    expect(written.body.status).not.toHaveProperty('ignored')
    const again = await apply(at, { ...base, spec: { gatewayClassName: 'istio' } })
    expect(again.body.metadata.resourceVersion).toBe(written.body.metadata.resourceVersion)
  })

  test('keeps the fields of custom resources whatever they are', async () => {
    const gateway = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'g' },
      spec: { listeners: [{ name: 'l' }], odd: 1 },
    }
    const made = await apply('/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways', gateway)
    expect([made.status, made.body.spec.odd, made.body.metadata.generation]).toEqual([201, 1, 1])
  })
})

describe('writes', () => {
  test('fieldValidation=Strict refuses an unknown field; otherwise it is dropped with a warning', async () => {
    const strict = await call('POST', `${apps}/deployments?fieldValidation=Strict`, {
      body: deployment({ replica: 2 }),
    })
    expect([strict.status, strict.body.message]).toEqual([
      400,
      'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica"',
    ])
    const loose = await call('POST', `${apps}/deployments`, { body: deployment({ replica: 2 }) })
    expect([loose.status, loose.headers.warning]).toEqual([201, '299 - "unknown field \\"spec.replica\\""'])
    expect(loose.body.spec).not.toHaveProperty('replica')
    expect(loose.body.spec.replicas).toBe(1)
  })

  test('status is written through its own subresource alone, and only a new spec raises the generation', async () => {
    await call('POST', `${apps}/deployments`, { body: { ...deployment(), status: { replicas: 7 } } })
    const main = await merge(`${apps}/deployments/web`, { spec: { replicas: 3 }, status: { replicas: 7 } })
    expect([main.body.status, main.body.metadata.generation]).toEqual([{}, 2])
    const status = await merge(`${apps}/deployments/web/status`, {
      spec: { replicas: 9 },
      status: { readyReplicas: 3 },
    })
    expect(status.body).toMatchObject({
      metadata: { generation: 2 },
      spec: { replicas: 3 },
      status: { readyReplicas: 3 },
    })
  })

  test('a stale resource version is a conflict, a second create too', async () => {
    const made = await call('POST', `${core}/configmaps`, { body: configMap({ a: '1' }) })
    await merge(`${core}/configmaps/x`, { data: { a: '2' } })
    const stale = await call('PUT', `${core}/configmaps/x`, { body: made.body })
    expect([stale.status, stale.body.message]).toEqual([
      409,
      'Operation cannot be fulfilled on configmaps "x": the object has been modified; please apply your changes to the latest version and try again',
    ])
    const again = await call('POST', `${core}/configmaps`, { body: configMap({}) })
    expect([again.body.reason, again.body.message]).toEqual(['AlreadyExists', 'configmaps "x" already exists'])
  })

  test('a dry run answers as if, and stores nothing', async () => {
    expect((await apply(`${core}/configmaps`, configMap({ a: '1' }), 'fieldManager=A&dryRun=All')).status).toBe(201)
    expect((await call('GET', `${core}/configmaps/x`)).body.message).toBe('configmaps "x" not found')
  })

  test('a Job keeps its template, and a Secret turns stringData into data', async () => {
    await apply('/apis/batch/v1/namespaces/default/jobs', job('true'))
    const changed = await apply('/apis/batch/v1/namespaces/default/jobs', job('false'))
    expect(changed.status).toBe(422)
    expect(changed.body.message).toMatch(/^Job\.batch "load" is invalid: spec\.template: .*field is immutable$/)
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { token: 'abc' } }
    expect((await apply(`${core}/secrets`, secret)).body.data).toEqual({ token: 'YWJj' })
  })

  test('replicas change through the scale subresource, and belong then to who changed them', async () => {
    const path = `${apps}/deployments/web`
    await apply(`${apps}/deployments`, deployment({ replicas: 2 }))
    expect((await call('GET', `${path}/scale`)).body).toMatchObject({
      ...{ apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: 'web', namespace: 'default' } },
      ...{ spec: { replicas: 2 }, status: { replicas: 0, selector: 'app=web' } },
    })
    const scaled = await merge(`${path}/scale?fieldManager=autoscaler`, { spec: { replicas: 4 } })
    expect(scaled.body).toMatchObject({ kind: 'Scale', spec: { replicas: 4 }, status: { selector: 'app=web' } })
    const replicas = async () => (await call('GET', path)).body.spec.replicas
    expect(await replicas()).toBe(4)
    const { managedFields } = (await call('GET', path)).body.metadata
    expect(managedFields).toContainEqual(
      expect.objectContaining({
        ...{ manager: 'autoscaler', operation: 'Update', apiVersion: 'apps/v1', subresource: 'scale' },
        fieldsV1: { 'f:spec': { 'f:replicas': {} } },
      }),
    )

    expect((await apply(`${apps}/deployments`, deployment())).status).toBe(200)
    expect(await replicas()).toBe(4)
    const refused = await apply(`${apps}/deployments`, deployment({ replicas: 1 }))
    expect(refused).toMatchObject({
      status: 409,
      body: {
        message:
          'Apply failed with 1 conflict: conflict with "autoscaler" with subresource "scale" using apps/v1: .spec.replicas',
      },
    })
    expect(await replicas()).toBe(4)
    await merge(`${path}/scale`, { spec: { replicas: 1 } })
    expect(await replicas()).toBe(1)
  })

  test('a scale is written by those who may write deployments/scale, on the version they read, and not below zero', async () => {
    await apply(`${apps}/deployments`, deployment())
    const path = `${apps}/deployments/web/scale`
    const token = server.tokens.add({
      name: 'scaler',
      rules: [{ apiGroups: ['apps'], resources: ['deployments/scale'], verbs: ['get', 'patch'] }],
    })
    expect((await call('GET', path, { token })).status).toBe(200)
    expect((await call('GET', `${apps}/deployments/web`, { token })).status).toBe(403)
    const type = 'application/merge-patch+json'
    expect((await call('PATCH', path, { token, type, body: { spec: { replicas: 3 } } })).status).toBe(200)
    const { body: read } = await call('GET', path)
    expect((await call('PUT', path, { token, body: read })).status).toBe(403)
    expect((await call('PUT', path, { body: { ...read, spec: { replicas: 5 } } })).body.spec).toEqual({ replicas: 5 })
    expect((await call('PUT', path, { body: { ...read, spec: { replicas: 6 } } })).status).toBe(409)
    const json = 'application/json-patch+json'
    const operation = { op: 'replace', path: '/spec/replicas', value: 7 }
    expect((await call('PATCH', path, { type: json, body: [operation] })).body.spec).toEqual({ replicas: 7 })
    expect(await merge(path, { spec: { replicas: -1 } })).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('spec.replicas: Invalid value: -1') },
    })
  })
})

describe('reading', () => {
  test('lists select by labels and fields and come in pages', async () => {
    for (const [name, tier] of [
      ['a', 'x'],
      ['b', 'y'],
      ['c', 'z'],
    ] as const) {
      await apply(`${core}/configmaps`, configMap({}, name, { tier, app: 'q' }))
    }
    const names = async (query: string) =>
      (await call('GET', `${core}/configmaps?${query}`)).body.items.map(o => o.metadata.name)
    expect(await names('labelSelector=tier%20in%20(x,y),app=q')).toEqual(['a', 'b'])
    expect(await names('labelSelector=tier%20notin%20(x),tier')).toEqual(['b', 'c'])
    expect(await names('labelSelector=!tier')).toEqual([])
    expect(await names('fieldSelector=metadata.name=b')).toEqual(['b'])
    expect((await call('GET', `${core}/configmaps?fieldSelector=data.a=1`)).body.message).toBe(
      'field label not supported: data.a',
    )
    const page = await call('GET', `${core}/configmaps?limit=2`)
    const token = String((page.body.metadata as Json).continue)
    expect(page.body.items).toHaveLength(2)
    expect(await names(`limit=2&continue=${token}`)).toEqual(['c'])
    server.faults.compact()
    expect((await call('GET', `${core}/configmaps?limit=2&continue=${token}`)).body).toMatchObject({
      code: 410,
      reason: 'Expired',
    })
  })

  test('a custom resource definition adds its kind at run time and takes it away again', async () => {
    const names = { kind: 'Widget', plural: 'widgets', singular: 'widget' }
    const versions = [{ name: 'v1', served: true, storage: true, subresources: { status: {} } }]
    const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    const body = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'widgets.shop.io' },
    }
    const at = '/apis/shop.io/v1/namespaces/default/widgets'
    expect((await call('GET', at)).status).toBe(404)
    await call('POST', crds, { body: { ...body, spec: { group: 'shop.io', scope: 'Namespaced', names, versions } } })
    expect((await call('GET', '/apis/shop.io/v1')).body.resources).toMatchObject([
      { name: 'widgets' },
      { name: 'widgets/status' },
    ])
    expect((await apply(at, { apiVersion: 'shop.io/v1', kind: 'Widget', metadata: { name: 'w' } })).status).toBe(201)
    await call('DELETE', `${crds}/widgets.shop.io`)
    expect((await call('GET', at)).status).toBe(404)
  })
})

describe('watch', () => {
  const list = async () => String(((await call('GET', `${core}/configmaps`)).body.metadata as Json).resourceVersion)

  test('resumes from a version, and an object that leaves the selection is DELETED', async () => {
    const version = await list()
    await apply(`${core}/configmaps`, configMap({ a: '1' }, 'x', { on: 'yes' }))
    const w = await watch(`${core}/configmaps?labelSelector=on=yes&resourceVersion=${version}`)
    expect(await w.next()).toMatchObject({ type: 'ADDED', object: { kind: 'ConfigMap', metadata: { name: 'x' } } })
    await merge(`${core}/configmaps/x`, { data: { a: '2' } })
    expect(await w.next()).toMatchObject({ type: 'MODIFIED', object: { data: { a: '2' } } })
    await merge(`${core}/configmaps/x`, { metadata: { labels: { on: 'no' } } })
    expect(await w.next()).toMatchObject({ type: 'DELETED', object: { metadata: { name: 'x' } } })
    await merge(`${core}/configmaps/x`, { metadata: { labels: { on: 'yes' } } })
    expect(await w.next()).toMatchObject({ type: 'ADDED' })
    await call('DELETE', `${core}/configmaps/x`)
    expect(await w.next()).toMatchObject({ type: 'DELETED' })
    w.close()
  })

  test('sends bookmarks that carry the newest version of the whole server', async () => {
    const w = await watch(`${core}/configmaps?allowWatchBookmarks=true&resourceVersion=${await list()}`)
    await call('POST', `${core}/secrets`, { body: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } } })
    const newest = server.store.resourceVersion
    let seen = 0
    while (seen < newest) {
      const line = await w.next()
      expect(line?.type).toBe('BOOKMARK')
      seen = Number(line?.object.metadata.resourceVersion)
    }
    expect(seen).toBe(newest)
    w.close()
  })

  test('sendInitialEvents gives all objects and then the mark of their end', async () => {
    await apply(`${core}/configmaps`, configMap({}))
    const query = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true'
    const w = await watch(`${core}/configmaps?${query}`)
    expect(await w.next()).toMatchObject({ type: 'ADDED' })
    expect(await w.next()).toMatchObject({
      type: 'BOOKMARK',
      object: { metadata: { annotations: { 'k8s.io/initial-events-end': 'true' } } },
    })
    w.close()
  })

  test('a version older than the kept history is an ERROR event with 410, and the stream ends', async () => {
    const version = await list()
    server.faults.compact()
    const w = await watch(`${core}/configmaps?resourceVersion=${version}`)
    expect(await w.next()).toMatchObject({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    expect(await w.next()).toBeUndefined()
    await w.all
  })

  test('ends cleanly after timeoutSeconds, and breaks when connections are dropped', async () => {
    const timed = await watch(`${core}/configmaps?timeoutSeconds=1&resourceVersion=${await list()}`)
    await timed.all
    const cut = await watch(`${core}/configmaps?resourceVersion=${await list()}`)
    server.faults.dropWatches()
    await expect(cut.all).rejects.toThrow(/aborted|hang up|reset/i)
  })
})

describe('deletion', () => {
  const gone = async (path: string) => {
    for (let i = 0; i < 100; i++) {
      if ((await call('GET', path)).status === 404) return true
      await delay(5)
    }
    return false
  }

  test('a finalizer holds an object until it is taken away', async () => {
    const held = { ...configMap({}), metadata: { name: 'x', finalizers: ['a.io/b'] } }
    await call('POST', `${core}/configmaps`, { body: held })
    const marked = await call('DELETE', `${core}/configmaps/x`)
    expect(marked.body).toMatchObject({
      kind: 'ConfigMap',
      metadata: { deletionTimestamp: expect.any(String), finalizers: ['a.io/b'] },
    })
    await merge(`${core}/configmaps/x`, { metadata: { finalizers: null } })
    expect((await call('GET', `${core}/configmaps/x`)).status).toBe(404)
  })

  test('a UID that does not match protects the object', async () => {
    const { body } = await call('POST', `${core}/configmaps`, { body: configMap({}) })
    const refused = await call('DELETE', `${core}/configmaps/x`, { body: { preconditions: { uid: 'other' } } })
    expect([refused.status, refused.body.reason]).toEqual([409, 'Conflict'])
    const done = await call('DELETE', `${core}/configmaps/x`, { body: { preconditions: { uid: body.metadata.uid } } })
    expect(done.body).toMatchObject({
      kind: 'Status',
      status: 'Success',
      details: { name: 'x', uid: body.metadata.uid },
    })
  })

  test('a pod on a node stays for its grace period until the node lets it go; without a node it goes at once', async () => {
    runningPod()
    const marked = await call('DELETE', `${core}/pods/web`)
    expect(marked.body.metadata).toMatchObject({
      deletionGracePeriodSeconds: 30,
      deletionTimestamp: expect.any(String),
    })
    await call('DELETE', `${core}/pods/web`, { body: { gracePeriodSeconds: 0 } })
    expect((await call('GET', `${core}/pods/web`)).status).toBe(404)
    const pending = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    }
    await call('POST', `${core}/pods`, { body: pending })
    expect((await call('DELETE', `${core}/pods/p`)).body.kind).toBe('Status')
  })

  const family = async () => {
    const { body } = await call('POST', `${core}/configmaps`, { body: configMap({}, 'parent') })
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'parent', uid: body.metadata.uid }]
    await call('POST', `${core}/configmaps`, {
      body: { ...configMap({}), metadata: { name: 'child', ownerReferences } },
    })
  }

  test('dependents follow their owner', async () => {
    await family()
    await call('DELETE', `${core}/configmaps/parent`)
    expect(await gone(`${core}/configmaps/child`)).toBe(true)
  })

  test('foreground deletion keeps the owner until its dependents are gone', async () => {
    await family()
    await merge(`${core}/configmaps/child`, { metadata: { finalizers: ['a.io/b'] } })
    await call('DELETE', `${core}/configmaps/parent?propagationPolicy=Foreground`)
    await delay(20)
    expect((await call('GET', `${core}/configmaps/parent`)).body.metadata.finalizers).toEqual(['foregroundDeletion'])
    await merge(`${core}/configmaps/child`, { metadata: { finalizers: null } })
    expect(await gone(`${core}/configmaps/parent`)).toBe(true)
  })

  test('orphaned dependents stay and lose the reference', async () => {
    await family()
    await call('DELETE', `${core}/configmaps/parent`, { body: { propagationPolicy: 'Orphan' } })
    expect(await gone(`${core}/configmaps/parent`)).toBe(true)
    expect((await call('GET', `${core}/configmaps/child`)).body.metadata.ownerReferences).toEqual([])
  })

  test('a volume claim stays while a pod uses it', async () => {
    const claim = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'c' },
      spec: { accessModes: ['ReadWriteOnce'] },
    }
    await call('POST', `${core}/persistentvolumeclaims`, { body: claim })
    const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }]
    const spec = { nodeName: 'n', containers: [{ name: 'c', image: 'i' }], volumes }
    server.store.create({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'default' }, spec })
    await call('DELETE', `${core}/persistentvolumeclaims/c`)
    await delay(20)
    expect((await call('GET', `${core}/persistentvolumeclaims/c`)).body.metadata.finalizers).toEqual([
      'kubernetes.io/pvc-protection',
    ])
    await call('DELETE', `${core}/pods/p`, { body: { gracePeriodSeconds: 0 } })
    expect(await gone(`${core}/persistentvolumeclaims/c`)).toBe(true)
  })

  test('a namespace takes its content with it, and nothing new gets in meanwhile', async () => {
    await call('POST', '/api/v1/namespaces', { body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'n' } } })
    const held = { ...configMap({}), metadata: { name: 'x', finalizers: ['a.io/b'] } }
    await call('POST', '/api/v1/namespaces/n/configmaps', { body: held })
    await call('DELETE', '/api/v1/namespaces/n')
    const late = await call('POST', '/api/v1/namespaces/n/configmaps', { body: configMap({}, 'y') })
    expect([late.status, late.body.message]).toEqual([
      403,
      'configmaps "y" is forbidden: unable to create new content in namespace n because it is being terminated',
    ])
    expect((await call('GET', '/api/v1/namespaces/n')).body.status).toEqual({ phase: 'Terminating' })
    await merge('/api/v1/namespaces/n/configmaps/x', { metadata: { finalizers: null } })
    expect(await gone('/api/v1/namespaces/n')).toBe(true)
    expect((await call('POST', '/api/v1/namespaces/n/configmaps', { body: configMap({}) })).body.message).toBe(
      'namespaces "n" not found',
    )
  })

  test('deletecollection removes what the selector names', async () => {
    for (const name of ['a', 'b']) await apply(`${core}/configmaps`, configMap({}, name, { name }))
    await call('DELETE', `${core}/configmaps?labelSelector=name=a`)
    expect((await call('GET', `${core}/configmaps`)).body.items.map(o => o.metadata.name)).toEqual(['b'])
  })
})

describe('access', () => {
  test('an unknown token is 401, and a missing right 403 with the text of a server', async () => {
    expect((await call('GET', `${core}/pods`, { token: 'nobody' })).body).toMatchObject({
      code: 401,
      reason: 'Unauthorized',
      message: 'Unauthorized',
    })
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'], namespaces: ['default'] }]
    const token = server.tokens.add({ name: 'system:serviceaccount:t3:runner', rules })
    expect((await call('GET', `${core}/pods`, { token })).status).toBe(200)
    expect(
      (await call('POST', '/apis/apps/v1/namespaces/t3/deployments', { token, body: deployment() })).body,
    ).toMatchObject({
      ...{ code: 403, reason: 'Forbidden' },
      message:
        'deployments.apps is forbidden: User "system:serviceaccount:t3:runner" cannot create resource "deployments" in API group "apps" in the namespace "t3"',
    })
    expect((await call('GET', '/api/v1/nodes/n1', { token })).body.message).toBe(
      'nodes "n1" is forbidden: User "system:serviceaccount:t3:runner" cannot get resource "nodes" in API group "" at the cluster scope',
    )
  })

  test('an apply that would create needs the right to create as well', async () => {
    const token = server.tokens.add({
      name: 'patcher',
      rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['patch'] }],
    })
    const options = { token, body: configMap({}), type: 'application/apply-patch+yaml' }
    const refused = await call('PATCH', `${core}/configmaps/x?fieldManager=A`, options)
    expect(refused.body.message).toContain('cannot create resource "configmaps"')
    await apply(`${core}/configmaps`, configMap({}))
    expect((await call('PATCH', `${core}/configmaps/x?fieldManager=A`, options)).status).toBe(200)
  })

  test('access reviews answer from the same rules', async () => {
    const token = server.tokens.add({
      name: 'u',
      rules: [{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['get'], namespaces: ['default'] }],
    })
    const ask = async (verb: string, namespace: string) => {
      const spec = { resourceAttributes: { verb, group: 'apps', resource: 'deployments', namespace } }
      const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
      return ((await call('POST', path, { token, body: { spec } })).body.status as Json).allowed
    }
    expect([await ask('get', 'default'), await ask('get', 'other'), await ask('delete', 'default')]).toEqual([
      true,
      false,
      false,
    ])
    const path = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews'
    const review = await call('POST', path, { token, body: { spec: { namespace: 'default' } } })
    expect(review.body.status).toMatchObject({
      resourceRules: [{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['get'] }],
    })
  })
})

describe('faults', () => {
  test('refuse, delay and drop as often as asked, and every request is on record', async () => {
    const match = (r: { path: string }) => r.path.endsWith('/pods')
    server.faults.add({ match, status: 429, retryAfter: 2, message: 'slow down', times: 1 })
    const refused = await call('GET', `${core}/pods`)
    expect([refused.status, refused.headers['retry-after'], refused.body.message]).toEqual([429, '2', 'slow down'])
    server.faults.add({ match, dropConnection: true, times: 1 })
    await expect(call('GET', `${core}/pods`)).rejects.toThrow(/hang up|reset/)
    server.faults.latencyMs = 60
    const started = Date.now()
    expect((await call('GET', `${core}/pods`)).status).toBe(200)
    expect(Date.now() - started).toBeGreaterThanOrEqual(59)
    expect(server.requests().map(r => [r.method, r.path, r.status, r.user, r.userAgent])).toEqual(
      [429, 0, 200].map(status => ['GET', `${core}/pods`, status, 'kubernetes-admin', 'tester/1']),
    )
  })
})

describe('pods', () => {
  const shell: PodRuntime = {
    async *logs(_namespace, _pod, container, options) {
      yield Buffer.from(`${container} tail=${options.tailLines}\n`)
      while (options.follow && !options.signal.aborted) await delay(5)
    },
    async exec(_namespace, _pod, container, argv, io) {
      if (argv[0] === 'cat') {
        for await (const chunk of io.stdin ?? []) await io.stdout(chunk)
        return 0
      }
      if (argv[0] === 'flood') {
        for (let i = 0; i < 40; i++) await io.stdout(Buffer.alloc(512 * 1024, i))
        return 0
      }
      io.stdout(Buffer.from(`${container}:${argv.join(',')}`))
      io.stderr(Buffer.from('oops'))
      return 3
    },
  }
  const connect = (query: string, options: { pod?: string; token?: string } = {}) => {
    const { pod = 'web', token = server.adminToken } = options
    const url = `${server.url.replace('https', 'wss')}${core}/pods/${pod}/exec?stdout=true&stderr=true&${query}`
    return new WebSocket(url, ['v5.channel.k8s.io', 'v4.channel.k8s.io'], {
      ca: server.caPem,
      headers: { authorization: `Bearer ${token}` },
    })
  }
  const run = (socket: WebSocket) =>
    new Promise<{ channels: Buffer[]; code: number; refused?: { status: number; message: string } }>(
      (resolve, reject) => {
        const channels: Buffer[][] = [[], [], [], []]
        socket.on('message', (data: Buffer) => channels[data[0] ?? 0]?.push(data.subarray(1)))
        socket.on('close', code => resolve({ channels: channels.map(c => Buffer.concat(c)), code }))
        socket.on('unexpected-response', async (_request, response) => {
          const { message } = JSON.parse(await text(response)) as { message: string }
          resolve({ channels: [], code: 0, refused: { status: response.statusCode ?? 0, message } })
        })
        socket.on('error', reject)
      },
    )

  test('exec carries argv word by word and the exit code in channel 3', async () => {
    server.setRuntime(shell)
    runningPod()
    const socket = connect('command=sh&command=-c&command=exit%203')
    const { channels, code } = await run(socket)
    expect(socket.protocol).toBe('v5.channel.k8s.io')
    expect([String(channels[1]), String(channels[2]), code]).toEqual(['main:sh,-c,exit 3', 'oops', 1000])
    expect(JSON.parse(String(channels[3]))).toMatchObject({
      ...{ status: 'Failure', reason: 'NonZeroExitCode' },
      details: { causes: [{ reason: 'ExitCode', message: '3' }] },
    })
  })

  test('exec gets stdin until the client closes that channel, and 20 MiB of output whole', async () => {
    server.setRuntime(shell)
    runningPod()
    const cat = connect('stdin=true&command=cat')
    cat.on('open', () => {
      cat.send(Buffer.concat([Buffer.of(0), Buffer.from('hello')]))
      cat.send(Buffer.of(255, 0))
    })
    const echoed = await run(cat)
    expect([String(echoed.channels[1]), JSON.parse(String(echoed.channels[3]))]).toEqual([
      'hello',
      { metadata: {}, status: 'Success' },
    ])
    expect((await run(connect('command=flood'))).channels[1]).toHaveLength(20 * 1024 * 1024)
  })

  test('exec into a missing pod is 404, into a missing container 400, without the right 403', async () => {
    server.setRuntime(shell)
    runningPod()
    expect((await run(connect('command=ls', { pod: 'nope' }))).refused).toEqual({
      status: 404,
      message: 'pods "nope" not found',
    })
    const missing = await run(connect('command=ls&container=nope'))
    expect(missing.refused).toEqual({ status: 400, message: 'container nope is not valid for pod web' })
    const token = server.tokens.add({ name: 'reader', policy: a => a.verb === 'get' })
    const refused = await run(connect('command=ls', { token }))
    expect(refused.refused?.message).toBe(
      'pods "web" is forbidden: User "reader" cannot create resource "pods/exec" in API group "" in the namespace "default"',
    )
  })

  test('an exec session that is cut ends without a status', async () => {
    const forever: PodRuntime = {
      ...shell,
      exec: (_n, _p, _c, _a, io) =>
        new Promise((_, no) => io.signal.addEventListener('abort', () => no(new Error('cut')))),
    }
    server.setRuntime(forever)
    runningPod()
    const socket = connect('command=sleep')
    socket.on('open', () => server.faults.dropWatches())
    expect(await run(socket)).toMatchObject({ code: 1006 })
  })

  test('a log is followed as it grows, and a container that waits has none', async () => {
    server.setRuntime(shell)
    runningPod()
    const log = await open('GET', `${core}/pods/web/log?follow=true&tailLines=5`)
    for await (const chunk of log) {
      expect(String(chunk)).toBe('main tail=5\n')
      break
    }
    const waiting = [
      { name: 'main', ready: false, restartCount: 0, state: { waiting: { reason: 'ContainerCreating' } } },
    ]
    server.store.patchStatus('pods', 'default', 'web', { containerStatuses: waiting })
    const refused = await call('GET', `${core}/pods/web/log`)
    expect([refused.status, refused.body.message]).toEqual([
      400,
      'container "main" in pod "web" is waiting to start: ContainerCreating',
    ])
    runningPod('two', ['a', 'b'])
    expect((await call('GET', `${core}/pods/two/log`)).body.message).toContain('choose one of: [a b]')
  })
})

test('the stock client library lists and applies over HTTP/2', async () => {
  const config = new KubeConfig()
  config.loadFromString(server.kubeconfig({ namespace: 'default' }))
  const client = KubernetesObjectApi.makeApiClient(config)
  await client.create(configMap({ a: '1' }) as never)
  const list = await client.list('v1', 'ConfigMap', 'default')
  expect(list.items.map(o => o.metadata?.name)).toEqual(['x'])
})

test('closing ends open watches and frees the port', async () => {
  const own = await startApiServer()
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { authorization: `Bearer ${own.adminToken}` }
    request(`${own.url}${core}/pods?watch=true`, { headers, ca: own.caPem, agent: false }, resolve)
      .on('error', reject)
      .end()
  })
  const ended = text(response).catch(() => 'cut')
  await own.close()
  await ended
  await expect(fetch(own.url)).rejects.toThrow()
})
