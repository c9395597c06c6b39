import { ApiStatusError } from '../runtime.ts'
import { type Dict, dict } from './dict.ts'
import type { ResourceKind } from './kinds.ts'
import { same } from './same.ts'
import { typedObjectError } from './schema.ts'

/** Field paths as a set of strings; one path element is `f:name`, `k:{"name":"x"}` or `v:"x"`, as in `fieldsV1`. */
export type FieldSet = Set<string>
const separator = '\u0001'
const join = (path: readonly string[]): string => path.join(separator)
export const split = (path: string): string[] => path.split(separator)
export const isUnder = (path: string, parent: string): boolean => path.startsWith(parent + separator)

const listKeys: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'],
  initContainers: ['name'],
  ephemeralContainers: ['name'],
  volumes: ['name'],
  env: ['name'],
  imagePullSecrets: ['name'],
  volumeMounts: ['mountPath'],
  volumeDevices: ['devicePath'],
  hostAliases: ['ip'],
  topologySpreadConstraints: ['topologyKey', 'whenUnsatisfiable'],
  conditions: ['type'],
  ownerReferences: ['uid'],
  listeners: ['name'],
}
const atomicMaps = new Set(
  ['selector', 'labelSelector', 'nodeSelector', 'roleRef', 'podSelector'].concat(
    ['fieldRef', 'resourceFieldRef', 'secretKeyRef', 'configMapKeyRef'],
    ['requiredDuringSchedulingIgnoredDuringExecution'],
  ),
)

/** How a list merges: by the named keys, as a set, or only as a whole. */
function listKind(kind: ResourceKind, fields: readonly string[]): readonly string[] | 'set' | 'atomic' {
  const name = fields.at(-1) ?? ''
  if (name === 'finalizers' && fields[0] === 'metadata') return 'set'
  if (name === 'ownerReferences') return fields[0] === 'metadata' ? ['uid'] : 'atomic'
  if (name === 'ports' && kind.builtin) {
    if (kind.id === 'services') return ['port', 'protocol']
    return fields.at(-2)?.toLowerCase().endsWith('containers') ? ['containerPort', 'protocol'] : 'atomic'
  }
  if (!kind.builtin && !['conditions', 'listeners'].includes(name)) return 'atomic'
  return listKeys[name] ?? 'atomic'
}
const isAtomicMap = (kind: ResourceKind, fields: readonly string[]): boolean =>
  kind.builtin && atomicMaps.has(fields.at(-1) ?? '')

function keyElement(item: unknown, keys: readonly string[]): string {
  const picked = keys.map(k => [k, dict(item)[k] ?? (k === 'protocol' ? 'TCP' : undefined)])
  return `k:${JSON.stringify(Object.fromEntries(picked))}`
}
const element = (item: unknown, merge: readonly string[] | 'set'): string =>
  merge === 'set' ? `v:${JSON.stringify(item)}` : keyElement(item, merge)

/** A field that identifies the list item it is in. */
export function isKeyField(path: readonly string[]): boolean {
  const [item = '', field = ''] = path.slice(-2)
  return item.startsWith('k:') && field.slice(2) in dict(JSON.parse(item.slice(2)))
}

const serverFields = [
  'name',
  'namespace',
  'generateName',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
].concat(['deletionTimestamp', 'deletionGracePeriodSeconds', 'managedFields', 'selfLink'])

/**
 * The fields that an object sets, without those that identify it or that the server writes.
 * @throws ApiStatusError 500 for a keyed list that names a key twice.
 */
export function fieldSet(kind: ResourceKind, object: Dict): FieldSet {
  const set: FieldSet = new Set()
  const walk = (value: unknown, path: string[], fields: string[]): void => {
    if (Array.isArray(value)) {
      const merge = listKind(kind, fields)
      if (merge === 'atomic' || value.length === 0) return void set.add(join(path))
      for (const item of value) {
        const own = [...path, element(item, merge)]
        if (set.has(join(own))) throw duplicate(kind, object, path, own.at(-1) ?? '')
        set.add(join(own))
        if (merge !== 'set')
          for (const [k, v] of Object.entries(dict(item))) walk(v, [...own, `f:${k}`], [...fields, k])
      }
    } else if (
      typeof value === 'object' &&
      value !== null &&
      Object.keys(value).length > 0 &&
      !isAtomicMap(kind, fields)
    ) {
      for (const [k, v] of Object.entries(value)) {
        if (fields.length === 0 && (k === 'apiVersion' || k === 'kind')) continue
        if (fields.length === 1 && fields[0] === 'metadata' && serverFields.includes(k)) continue
        walk(v, [...path, `f:${k}`], [...fields, k])
      }
    } else if (path.length > 0 && !(fields.length === 1 && fields[0] === 'metadata')) set.add(join(path))
  }
  walk(object, [], [])
  return set
}

function duplicate(kind: ResourceKind, object: Dict, path: readonly string[], key: string): ApiStatusError {
  const { namespace = '', name } = dict(object.metadata)
  const where = `${typedObjectError(kind, String(namespace), String(name))}: ${dotted(path)}`
  return new ApiStatusError(500, `${where}: duplicate entries for key ${dotted([key])}`, '')
}

/** `.spec.containers[name="main"].image` */
export function dotted(path: readonly string[]): string {
  return path
    .map(part => {
      if (part.startsWith('f:')) return `.${part.slice(2)}`
      if (part.startsWith('v:')) return `[=${part.slice(2)}]`
      const keys = Object.entries(JSON.parse(part.slice(2)) as Dict)
      return `[${keys.map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(',')}]`
    })
    .join('')
}

const indexOf = (list: readonly unknown[], part: string): number =>
  list.findIndex(item => {
    if (part.startsWith('v:')) return JSON.stringify(item) === part.slice(2)
    return keyElement(item, Object.keys(JSON.parse(part.slice(2)) as Dict)) === part
  })

const step = (value: unknown, part: string): unknown => {
  if (part.startsWith('f:')) return dict(value)[part.slice(2)]
  return Array.isArray(value) ? value[indexOf(value, part)] : undefined
}
export const valueAt = (object: unknown, path: readonly string[]): unknown => path.reduce<unknown>(step, object)

/** Removes one field or list item in place, and maps and lists that become empty by it. */
export function removeAt(object: Dict, path: readonly string[]): void {
  const parent = valueAt(object, path.slice(0, -1))
  const last = path.at(-1) ?? ''
  if (last.startsWith('f:')) delete dict(parent)[last.slice(2)]
  else if (Array.isArray(parent)) {
    const at = indexOf(parent, last)
    if (at >= 0) parent.splice(at, 1)
  }
  const empty = typeof parent === 'object' && parent !== null && Object.keys(parent).length === 0
  if (empty && path.length > 2 && path.at(-2)?.startsWith('f:')) removeAt(object, path.slice(0, -1))
}

/** Lays `applied` over `live`: maps and keyed lists merge, all else is replaced. Returns a new value. */
export function mergeApplied(kind: ResourceKind, live: unknown, applied: unknown, fields: string[] = []): unknown {
  if (Array.isArray(applied)) {
    const merge = listKind(kind, fields)
    if (merge === 'atomic' || !Array.isArray(live)) return structuredClone(applied)
    const rest = live.filter(item => indexOf(applied, element(item, merge)) < 0)
    const merged = applied.map(item => {
      const at = indexOf(live, element(item, merge))
      return at < 0 || merge === 'set' ? structuredClone(item) : mergeApplied(kind, live[at], item, fields)
    })
    return [...merged, ...structuredClone(rest)]
  }
  if (typeof applied !== 'object' || applied === null) return applied
  if (typeof live !== 'object' || live === null || Array.isArray(live) || isAtomicMap(kind, fields))
    return structuredClone(applied)
  const merged: Dict = { ...(structuredClone(live) as Dict) }
  for (const [k, v] of Object.entries(applied)) merged[k] = mergeApplied(kind, (live as Dict)[k], v, [...fields, k])
  return merged
}

/** True when the field itself was changed; a list item counts only by being there. */
export function differs(path: readonly string[], before: unknown, after: unknown): boolean {
  const a = valueAt(before, path)
  const b = valueAt(after, path)
  return path.at(-1)?.startsWith('k:') ? (a === undefined) !== (b === undefined) : !same(a, b)
}

export function toFieldsV1(set: ReadonlySet<string>): Dict {
  const root: Dict = {}
  for (const path of [...set].sort()) {
    let at = root
    for (const part of split(path)) {
      at[part] ??= {}
      at = dict(at[part])
    }
    if (split(path).at(-1)?.startsWith('k:')) at['.'] = {}
  }
  return root
}

export function fromFieldsV1(tree: Dict): FieldSet {
  const set: FieldSet = new Set()
  const walk = (node: Dict, path: string[]): void => {
    const children = Object.entries(node).filter(([k]) => k !== '.')
    if (path.length > 0 && (children.length === 0 || '.' in node)) set.add(join(path))
    for (const [k, v] of children) walk(dict(v), [...path, k])
  }
  walk(tree, [])
  return set
}
