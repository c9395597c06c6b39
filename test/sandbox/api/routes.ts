import type { ServerResponse } from 'node:http'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import { type Attributes, authorize } from './access.ts'
import { type ApiRequest, decode, decodeApply, deleteOptions, parseBody, patched, type Target } from './decode.ts'
import { type Dict, dict } from './dict.ts'
import { checkGrants } from './escalation.ts'
import { detailsOf, groupVersion, notFound, type Registry } from './kinds.ts'
import { jsonPatch, mergePatch } from './patches.ts'
import { selectorOf } from './selectors.ts'
import type { Store, WriteOptions } from './store.ts'

/** Takes a path apart; undefined when it names no resource that the server has. */
export function targetOf(registry: Registry, path: string): Target | undefined {
  const match = /^\/(?:api\/v1|apis\/([^/]+)\/([^/]+))\/(.+)$/.exec(path)
  if (!match) return undefined
  const [, group = '', version = 'v1', rest = ''] = match
  let parts = rest.split('/').map(decodeURIComponent)
  let namespace = ''
  // `namespaces/x` is an object, `namespaces/x/pods` a collection in it; `namespaces/x/status` is the object again.
  const own = group === '' && ['status', 'finalize'].includes(parts[2] ?? '')
  if (parts[0] === 'namespaces' && parts.length > 2 && !own) {
    namespace = parts[1] ?? ''
    parts = parts.slice(2)
  }
  const [plural = '', name = '', ...subresource] = parts
  const kind = registry.find(group, version, plural)
  if (!kind || (namespace !== '' && !kind.namespaced)) return undefined
  return { kind, version, namespace, name, subresource: subresource.join('/') }
}

export interface Answer {
  status: number
  body: object
  warnings?: string[]
}

const verbs: Readonly<Record<string, string>> = {
  GET: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
}

/** The verb of a request as an authorizer names it; `name` is empty for a collection. */
export function verbOf(method: string, name: string, query: URLSearchParams): string {
  const verb = verbs[method] ?? method.toLowerCase()
  if (name !== '') return verb
  if (verb === 'get') return query.get('watch') === 'true' || query.get('watch') === '1' ? 'watch' : 'list'
  return verb === 'delete' ? 'deletecollection' : verb
}

/** What an authorizer is asked about a request. */
export function attributesOf(target: Target, method: string, query: URLSearchParams): Attributes {
  const { kind, namespace, name } = target
  // What comes behind `proxy` is the pod's.
  const subresource = target.subresource.startsWith('proxy/') ? 'proxy' : target.subresource
  const verb = verbOf(method, name, query)
  // A request for a namespace object is judged inside it, so that a Role there can allow it.
  const scope = kind.id === 'namespaces' ? name : namespace
  return { verb, group: kind.group, resource: kind.plural, subresource, namespace: scope, name }
}

/** Serves everything but watches, logs and exec. */
export function handle(store: Store, target: Target, request: ApiRequest): Answer {
  const { kind, version, name, subresource } = target
  const { method, query, user } = request
  const namespace = kind.namespaced ? target.namespace : undefined
  const show = (object: KubeObject): object => ({
    ...object,
    apiVersion: groupVersion(kind.group, version),
    kind: kind.kind,
  })
  if (name === '' && method === 'GET') return { status: 200, body: listOf(store, target, query) }
  if (name === '' && method === 'DELETE') {
    const selects = selectorOf(kind, { labels: query.get('labelSelector'), fields: query.get('fieldSelector') })
    for (const { metadata: m } of store.peekAll(kind.id, namespace, selects))
      store.delete(kind.id, m.namespace, m.name, deleteOptions(request))
    return { status: 200, body: listOf(store, target, query) }
  }
  if (subresource === 'scale' && kind.hasScale) return { status: 200, body: scale(store, target, request) }
  if (subresource === 'binding' && method === 'POST') {
    const body = parseBody(request)
    store.modify('pods', namespace, name, pod => {
      pod.spec = { ...dict(pod.spec), nodeName: dict(body.target).name }
    })
    return { status: 201, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 } }
  }
  const sub = subresource === '' ? undefined : subresource === 'status' && kind.hasStatus ? 'status' : null
  if (sub === null || (name === '' && method !== 'POST'))
    throw new ApiStatusError(404, 'the server could not find the requested resource')
  const live = name === '' ? undefined : store.peek(kind.id, namespace, name)
  const dryRun = query.get('dryRun') === 'All'
  const manager = query.get('fieldManager') ?? request.userAgent.split('/')[0] ?? 'unknown'
  const options: WriteOptions = { manager, dryRun, ...(sub ? { subresource: sub } : {}) }
  if (method === 'GET') {
    if (!live) throw notFound(kind, name)
    return { status: 200, body: show(live) }
  }
  if (method === 'DELETE') {
    const { object, removed } = store.delete(kind.id, namespace, name, deleteOptions(request))
    const details = { ...detailsOf(kind, name), uid: object.metadata.uid }
    const success = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details }
    return { status: 200, body: removed ? success : show(object) }
  }
  if (method === 'POST' || method === 'PUT') {
    const { object, warnings } = decode(target, request, parseBody(request))
    const isNew = method === 'POST' || (kind.putCreates && !live)
    if (isNew && method === 'PUT' && object.metadata.uid) throw conflict(target, object.metadata.uid)
    checkGrants(store, user, kind, object, live)
    const written = isNew ? store.create(object, options) : store.update(object, options)
    return { status: isNew ? 201 : 200, body: show(written), warnings }
  }
  if (method !== 'PATCH')
    throw new ApiStatusError(405, 'the server does not allow this method on the requested resource')
  if (request.contentType === 'application/apply-patch+yaml') {
    const object = decodeApply(target, request)
    if (!live) authorize(user, kind, attributesOf(target, 'POST', query))
    checkGrants(store, user, kind, object, live)
    const force = query.get('force') === 'true'
    const written = store.apply(object, { manager, force, dryRun, ...(sub ? { subresource: sub } : {}) })
    return { status: live ? 200 : 201, body: show(written) }
  }
  if (!live) throw notFound(kind, name)
  const { object, warnings } = decode(target, request, patched(kind, live, request))
  checkGrants(store, user, kind, object, live)
  return { status: 200, body: show(store.update(object, options)), warnings }
}

/** A PUT may create, but an object that had a uid is not made anew. */
function conflict({ kind, namespace, name }: Target, uid: string): ApiStatusError {
  const key = `/registry/${kind.plural}/${namespace}/${name}`
  const text = `Precondition failed: UID in precondition: ${uid}, UID in object meta: `
  return new ApiStatusError(
    409,
    `Operation cannot be fulfilled on ${kind.id} "${name}": StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: ${text}`,
    'Conflict',
    detailsOf(kind, name),
  )
}

function listOf(store: Store, { kind, version, namespace }: Target, query: URLSearchParams): object {
  const selects = selectorOf(kind, { labels: query.get('labelSelector'), fields: query.get('fieldSelector') })
  const apiVersion = groupVersion(kind.group, version)
  const token = query.get('continue')
  const start = token
    ? (JSON.parse(Buffer.from(token, 'base64url').toString()) as { version: number; after: string })
    : undefined
  if (start && start.version < store.oldestVersion) {
    throw new ApiStatusError(
      410,
      'The provided continue parameter is too old to display a consistent list result.',
      'Expired',
    )
  }
  const position = (o: KubeObject) => `${o.metadata.namespace ?? ''}/${o.metadata.name}`
  const all = store.peekAll(kind.id, namespace, selects).filter(o => !start || position(o) > start.after)
  const limit = Number(query.get('limit') ?? 0) || all.length
  const page = all.slice(0, limit)
  const resourceVersion = String(start?.version ?? store.resourceVersion)
  const next = { version: Number(resourceVersion), after: page.length > 0 ? position(page.at(-1) as KubeObject) : '' }
  const more =
    all.length > limit
      ? { continue: Buffer.from(JSON.stringify(next)).toString('base64url'), remainingItemCount: all.length - limit }
      : {}
  // Items of built-in lists carry neither kind nor version; those of custom resources do.
  const items = page.map(({ apiVersion: _v, kind: own, ...rest }) =>
    kind.builtin ? rest : { apiVersion, kind: own, ...rest },
  )
  return { kind: `${kind.kind}List`, apiVersion, metadata: { resourceVersion, ...more }, items }
}

function scale(store: Store, { kind, namespace, name }: Target, request: ApiRequest): object {
  const view = (o: KubeObject): Dict => {
    const spec = dict(o.spec)
    const labels = Object.entries(dict(dict(spec.selector).matchLabels))
    return {
      ...{ kind: 'Scale', apiVersion: 'autoscaling/v1' },
      metadata: {
        ...{ name, namespace, uid: o.metadata.uid, resourceVersion: o.metadata.resourceVersion },
        creationTimestamp: o.metadata.creationTimestamp,
      },
      spec: { replicas: spec.replicas },
      status: { replicas: dict(o.status).replicas ?? 0, selector: labels.map(([k, v]) => `${k}=${v}`).join(',') },
    }
  }
  const live = store.get(kind.id, namespace, name)
  if (!live) throw notFound(kind, name)
  if (request.method === 'GET') return view(live)
  const old = view(live)
  const body = parseBody(request)
  const wanted =
    request.method === 'PUT'
      ? body
      : request.contentType === 'application/json-patch+json'
        ? jsonPatch(old, body as never)
        : dict(mergePatch(old, body))
  const replicas = Number(dict(wanted.spec).replicas ?? 0)
  if (!Number.isInteger(replicas) || replicas < 0) {
    const text = `Invalid value: ${replicas}: must be greater than or equal to 0`
    throw new ApiStatusError(422, `Scale.autoscaling "${name}" is invalid: spec.replicas: ${text}`)
  }
  const { resourceVersion } = dict(wanted.metadata) as { resourceVersion?: string }
  if (resourceVersion) live.metadata.resourceVersion = resourceVersion
  live.spec = { ...dict(live.spec), replicas }
  const manager = request.query.get('fieldManager') ?? request.userAgent.split('/')[0] ?? 'unknown'
  const dryRun = request.query.get('dryRun') === 'All'
  return view(store.update(live, { manager, subresource: 'scale', dryRun }))
}

/** Writes one JSON answer, with the warnings of the server as headers. */
export function reply(
  response: ServerResponse,
  { status, body, warnings = [] }: Answer,
  headers: Record<string, string> = {},
): void {
  if (response.headersSent || response.destroyed) return
  if (warnings.length > 0)
    response.setHeader(
      'warning',
      warnings.map(w => `299 - ${JSON.stringify(w)}`),
    )
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}
