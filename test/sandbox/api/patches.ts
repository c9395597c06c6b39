import { ApiStatusError } from '../runtime.ts'
import { type Dict, dict } from './dict.ts'

/** RFC 7386: maps merge, null removes, all else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const merged: Dict = { ...(Array.isArray(target) ? {} : dict(target)) }
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else merged[key] = mergePatch(merged[key], value)
  }
  return merged
}

const strategicKeys = ['name', 'type', 'containerPort', 'mountPath', 'uid', 'ip', 'port'] as const
const strategicLists = new Set(
  ['containers', 'initContainers', 'volumes', 'env', 'ports', 'volumeMounts', 'conditions'].concat([
    'ownerReferences',
    'imagePullSecrets',
    'hostAliases',
    'secrets',
  ]),
)

/** The strategic merge of built-in kinds, near enough: the lists that have a key merge by it, `$patch: delete` removes. */
export function strategicPatch(target: unknown, patch: unknown, field = ''): unknown {
  if (Array.isArray(patch)) {
    const first = dict(patch[0])
    const key = strategicKeys.find(k => first[k] !== undefined && !(k === 'name' && field === 'ports'))
    if (!strategicLists.has(field) || key === undefined || !Array.isArray(target)) return patch
    const merged = [...target]
    for (const item of patch.map(dict)) {
      const at = merged.findIndex(old => dict(old)[key] === item[key])
      if (item.$patch === 'delete') merged.splice(at, at < 0 ? 0 : 1)
      else if (at < 0) merged.push(item)
      else merged[at] = strategicPatch(merged[at], item)
    }
    return merged
  }
  if (typeof patch !== 'object' || patch === null) return patch
  const merged: Dict = { ...(Array.isArray(target) ? {} : dict(target)) }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue
    if (value === null) delete merged[key]
    else merged[key] = strategicPatch(merged[key], value, key)
  }
  return merged
}

interface Operation {
  op: 'add' | 'remove' | 'replace' | 'test'
  path: string
  value?: unknown
}

/** RFC 6902 without `move` and `copy`. Changes a copy. @throws ApiStatusError 422 when a path or a test does not hold. */
export function jsonPatch(target: Dict, operations: readonly Operation[]): Dict {
  const root = structuredClone(target)
  for (const { op, path, value } of operations) {
    const keys = path
      .split('/')
      .slice(1)
      .map(k => k.replaceAll('~1', '/').replaceAll('~0', '~'))
    const last = keys.pop() ?? ''
    const parent = keys.reduce<unknown>((at, k) => dict(at)[k], root)
    const refuse = () =>
      new ApiStatusError(422, `the server rejected our request due to an error in our request: ${op} ${path}`)
    if (typeof parent !== 'object' || parent === null) throw refuse()
    const exists = Object.hasOwn(parent, last)
    if (op === 'test' && JSON.stringify(dict(parent)[last]) !== JSON.stringify(value)) throw refuse()
    if ((op === 'remove' || op === 'replace') && !exists) throw refuse()
    if (Array.isArray(parent) && op === 'add') parent.splice(last === '-' ? parent.length : Number(last), 0, value)
    else if (Array.isArray(parent) && op === 'remove') parent.splice(Number(last), 1)
    else if (op === 'remove') delete dict(parent)[last]
    else if (op !== 'test') dict(parent)[last] = value
  }
  return root
}
