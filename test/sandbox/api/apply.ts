import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError, type StatusCause } from '../runtime.ts'
import { type Dict, dict } from './dict.ts'
import {
  differs,
  dotted,
  type FieldSet,
  fieldSet,
  fromFieldsV1,
  isKeyField,
  isUnder,
  mergeApplied,
  removeAt,
  split,
  toFieldsV1,
  valueAt,
} from './field-sets.ts'
import type { ResourceKind } from './kinds.ts'

/** Who writes, as one entry of `metadata.managedFields` tells them apart. */
export interface Writer {
  manager: string
  subresource?: string
}
interface Entry {
  manager: string
  operation: 'Apply' | 'Update'
  apiVersion: string
  subresource: string
  time: string
  set: FieldSet
}

function read(object: KubeObject | undefined): Entry[] {
  return ((object?.metadata.managedFields ?? []) as Dict[]).map(e => ({
    manager: String(e.manager),
    operation: e.operation as 'Apply' | 'Update',
    apiVersion: String(e.apiVersion),
    subresource: String(e.subresource ?? ''),
    time: String(e.time),
    set: fromFieldsV1(dict(e.fieldsV1)),
  }))
}

function write(object: KubeObject, entries: readonly Entry[]): void {
  const kept = entries.filter(e => e.set.size > 0)
  if (kept.length === 0) delete object.metadata.managedFields
  else {
    object.metadata.managedFields = kept.map(({ subresource, set, ...entry }) => ({
      ...entry,
      ...(subresource === '' ? {} : { subresource }),
      fieldsType: 'FieldsV1',
      fieldsV1: toFieldsV1(set),
    }))
  }
}

const isSame = (entry: Entry, writer: Writer, operation: Entry['operation']): boolean =>
  entry.manager === writer.manager && entry.operation === operation && entry.subresource === (writer.subresource ?? '')

const newEntry = (writer: Writer, operation: Entry['operation'], apiVersion: string): Entry => {
  const time = `${new Date().toISOString().slice(0, 19)}Z`
  return { manager: writer.manager, operation, apiVersion, subresource: writer.subresource ?? '', time, set: new Set() }
}

/**
 * Server-side apply: lays the applied configuration over the live object, takes away what this manager applied before
 * and no longer does, and records who owns what. Returns a new object; neither argument is changed.
 * @throws ApiStatusError 409 with one cause per field that another manager owns and that would change.
 */
export function applyConfiguration(
  kind: ResourceKind,
  live: KubeObject | undefined,
  applied: KubeObject,
  writer: Writer & { force: boolean },
): KubeObject {
  const wanted = fieldSet(kind, applied)
  const entries = read(live)
  const mine = entries.find(e => isSame(e, writer, 'Apply')) ?? newEntry(writer, 'Apply', applied.apiVersion)
  const others = entries.filter(e => e !== mine)
  const merged = mergeApplied(kind, live ?? {}, applied) as KubeObject

  const conflicts = others.flatMap(owner =>
    [...wanted].filter(p => owner.set.has(p) && differs(split(p), live, merged)).map(path => ({ owner, path })),
  )
  if (conflicts.length > 0 && !writer.force) throw conflictError(conflicts)
  for (const { owner, path } of conflicts) owner.set.delete(path)

  // Shallow first: a list item that may go is found by its key fields, so it goes before they do.
  const dropped = [...mine.set].filter(p => !wanted.has(p)).sort((a, b) => split(a).length - split(b).length)
  for (const path of dropped) {
    const owned = others.some(o => [...o.set].some(p => p === path || isUnder(p, path)))
    const stillWanted = [...wanted].some(p => isUnder(p, path))
    if (!owned && !stillWanted && !isKeyField(split(path))) removeAt(merged as unknown as Dict, split(path))
  }
  const own = { ...newEntry(writer, 'Apply', applied.apiVersion), set: wanted }
  const unchanged = mine.set.size === wanted.size && dropped.length === 0
  if (unchanged) own.time = mine.time
  write(merged, entries.includes(mine) ? entries.map(e => (e === mine ? own : e)) : [...entries, own])
  return merged
}

function conflictError(conflicts: readonly { owner: Entry; path: string }[]) {
  const title = ({ manager, subresource, operation, apiVersion }: Entry) =>
    `"${manager}"${subresource === '' ? '' : ` with subresource "${subresource}"`}${operation === 'Update' ? ` using ${apiVersion}` : ''}`
  const all = conflicts.map(({ owner, path }) => ({ who: title(owner), field: dotted(split(path)) }))
  const owners = [...new Set(all.map(c => c.who))].sort()
  const lines = owners.flatMap(who => [
    `conflicts with ${who}:`,
    ...all.filter(c => c.who === who).map(c => `- ${c.field}`),
  ])
  const text =
    all.length === 1
      ? `1 conflict: conflict with ${all[0]?.who}: ${all[0]?.field}`
      : `${all.length} conflicts: ${lines.join('\n')}`
  const causes: StatusCause[] = all.map(({ who, field }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${who}`,
    field,
  }))
  return new ApiStatusError(409, `Apply failed with ${text}`, 'Conflict', { causes })
}

/** Records a create, update or patch: changed fields belong to the writer alone, removed ones to nobody. In place. */
export function trackUpdate(
  kind: ResourceKind,
  before: KubeObject | undefined,
  after: KubeObject,
  writer: Writer,
): void {
  const entries = read(before)
  // Who sets the number of replicas is only written down where somebody owned it: the scale itself has no history.
  if (writer.subresource === 'scale' && !entries.some(e => [...e.set].some(p => dotted(split(p)) === '.spec.replicas')))
    return
  const old = before ? fieldSet(kind, before as unknown as Dict) : new Set<string>()
  const now = fieldSet(kind, after as unknown as Dict)
  const changed = [...now].filter(p => !old.has(p) || differs(split(p), before, after))
  let mine = entries.find(e => isSame(e, writer, 'Update'))
  if (!mine && changed.length > 0) {
    mine = newEntry(writer, 'Update', after.apiVersion)
    entries.push(mine)
  }
  for (const entry of entries) {
    for (const path of changed) if (entry !== mine) entry.set.delete(path)
    for (const path of entry.set) if (valueAt(after, split(path)) === undefined) entry.set.delete(path)
  }
  for (const path of changed) mine?.set.add(path)
  write(after, entries)
}
