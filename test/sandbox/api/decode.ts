import { parse } from 'yaml'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import type { User } from './access.ts'
import { type Dict, dict } from './dict.ts'
import { groupVersion, type ResourceKind } from './kinds.ts'
import { jsonPatch, mergePatch, strategicPatch } from './patches.ts'
import { typedObjectError, unknownFields } from './schema.ts'
import type { DeleteOptions } from './store.ts'

/** A request that names objects: `/api/v1/...` or `/apis/GROUP/VERSION/...`. */
export interface Target {
  kind: ResourceKind
  version: string
  namespace: string
  name: string
  subresource: string
}

export interface ApiRequest {
  method: string
  query: URLSearchParams
  contentType: string
  userAgent: string
  body: string
  user: User
}
/** @throws ApiStatusError 415 for anything but JSON and YAML, 400 for text that is neither. */
export function parseBody({ body, contentType }: Pick<ApiRequest, 'body' | 'contentType'>): Dict {
  if (contentType.includes('protobuf') || contentType.includes('cbor')) {
    throw new ApiStatusError(
      415,
      'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml',
    )
  }
  try {
    return body === ''
      ? {}
      : contentType.includes('yaml') && !body.trimStart().startsWith('{')
        ? dict(parse(body))
        : (JSON.parse(body) as Dict)
  } catch (error) {
    throw new ApiStatusError(400, `error decoding: ${(error as Error).message}`)
  }
}

/** Fills in what the path says, refuses what contradicts it, and treats unknown fields as `fieldValidation` asks. */
export function decode(target: Target, request: ApiRequest, object: Dict): { object: KubeObject; warnings: string[] } {
  const known = identify(target, object)
  const found = unknownFields(target.kind, known, true).map(f => `unknown field "${f.path}"`)
  const mode = request.query.get('fieldValidation') ?? 'Warn'
  if (found.length > 0 && mode === 'Strict') {
    const text = `strict decoding error: ${found.join(', ')}`
    if (request.method === 'PATCH')
      throw new ApiStatusError(422, `${target.kind.kind} "${target.name}" is invalid: patch: Invalid value: ${text}`)
    throw new ApiStatusError(
      400,
      `${target.kind.kind} in version "${target.version}" cannot be handled as a ${target.kind.kind}: ${text}`,
    )
  }
  return { object: known, warnings: mode === 'Ignore' ? [] : found }
}

export function decodeApply(target: Target, request: ApiRequest): KubeObject {
  if (!request.query.get('fieldManager')) {
    throw new ApiStatusError(
      422,
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    )
  }
  const object = identify(target, parseBody(request))
  if (object.metadata.managedFields?.length) throw new ApiStatusError(400, 'metadata.managedFields must be nil')
  const unknown = unknownFields(target.kind, object)[0]
  if (unknown) {
    const start = typedObjectError(target.kind, object.metadata.namespace ?? '', object.metadata.name)
    throw new ApiStatusError(500, `${start}: ${unknown.typedPath}: field not declared in schema`, '')
  }
  return object
}

function identify({ kind, version, namespace, name }: Target, object: Dict): KubeObject {
  const apiVersion = groupVersion(kind.group, version)
  const given = { apiVersion: object.apiVersion ?? apiVersion, kind: object.kind ?? kind.kind }
  if (given.apiVersion !== apiVersion || given.kind !== kind.kind) {
    const want = `expected ${apiVersion} ${kind.kind}`
    throw new ApiStatusError(400, `the object provided is unrecognized: got ${given.apiVersion} ${given.kind}, ${want}`)
  }
  const meta = dict(object.metadata)
  if (name !== '' && meta.name !== undefined && meta.name !== name) {
    throw new ApiStatusError(400, `the name of the object (${meta.name}) does not match the name on the URL (${name})`)
  }
  if (namespace !== '' && meta.namespace !== undefined && meta.namespace !== namespace) {
    throw new ApiStatusError(
      400,
      `the namespace of the provided object does not match the namespace sent on the request`,
    )
  }
  const place = { name: String(meta.name ?? name), ...(kind.namespaced ? { namespace } : {}) }
  return { ...object, apiVersion, kind: kind.kind, metadata: { ...meta, ...place } } as KubeObject
}

export function patched(kind: ResourceKind, live: KubeObject, request: ApiRequest): Dict {
  const body = parseBody(request)
  const type = request.contentType
  if (type === 'application/json-patch+json') return jsonPatch(live as unknown as Dict, body as never)
  if (type === 'application/merge-patch+json') return structuredClone(dict(mergePatch(live, body)))
  if (type === 'application/strategic-merge-patch+json' && kind.builtin)
    return structuredClone(dict(strategicPatch(live, body)))
  throw new ApiStatusError(415, `the body of the request was in an unknown format: ${type}`)
}

export function deleteOptions(request: ApiRequest): DeleteOptions {
  const { query } = request
  const body = parseBody(request) as {
    gracePeriodSeconds?: number
    propagationPolicy?: string
    preconditions?: Dict
    dryRun?: string[]
  }
  const grace =
    body.gracePeriodSeconds ?? (query.has('gracePeriodSeconds') ? Number(query.get('gracePeriodSeconds')) : undefined)
  const policy = body.propagationPolicy ?? query.get('propagationPolicy') ?? undefined
  return {
    ...(grace === undefined ? {} : { graceSeconds: grace }),
    ...(policy === undefined ? {} : { propagation: policy as 'Background' | 'Foreground' | 'Orphan' }),
    ...(body.preconditions as { uid?: string; resourceVersion?: string } | undefined),
    dryRun: body.dryRun?.includes('All') ?? query.get('dryRun') === 'All',
  }
}
