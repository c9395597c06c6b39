import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import type { ResourceKind } from './kinds.ts'

export type Selector = (object: KubeObject) => boolean

/** Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`. */
export function labelSelector(text: string): (labels: Readonly<Record<string, string>>) => boolean {
  const tests = text
    .split(/,(?![^(]*\))/)
    .map(part => part.trim())
    .filter(part => part !== '')
    .map(requirement)
  return labels => tests.every(test => test(labels))
}

function requirement(text: string): (labels: Readonly<Record<string, string>>) => boolean {
  const set = /^([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(text)
  if (set) {
    const [, key = '', operator, list = ''] = set
    const values = list.split(',').map(v => v.trim())
    return labels => {
      const hit = labels[key] !== undefined && values.includes(labels[key])
      return operator === 'in' ? hit : !hit
    }
  }
  const pair = /^([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)$/.exec(text)
  if (pair) {
    const [, key = '', operator, value] = pair
    return labels => (operator === '!=' ? labels[key] !== value : labels[key] === value)
  }
  const bare = /^(!?)\s*([\w./-]+)$/.exec(text)
  if (!bare) throw new ApiStatusError(400, `unable to parse requirement: found '${text}', expected: label selector`)
  const [, not, key = ''] = bare
  return labels => (labels[key] === undefined) === (not === '!')
}

const fieldsByKind: Readonly<Record<string, readonly string[]>> = {
  pods: ['status.phase', 'spec.nodeName', 'spec.restartPolicy', 'spec.serviceAccountName', 'status.podIP'],
  events: ['type', 'reason', 'reportingComponent', 'source'].concat(
    ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map(f => `involvedObject.${f}`),
  ),
  jobs: ['status.successful'],
  namespaces: ['status.phase'],
  nodes: ['spec.unschedulable'],
  secrets: ['type'],
}

/** Parses `metadata.name=x,status.phase!=Failed`; a field that the kind cannot be selected by is a 400, as on a server. */
export function fieldSelector(kind: ResourceKind, text: string): Selector {
  const allowed = ['metadata.name', 'metadata.namespace', ...(fieldsByKind[kind.plural] ?? [])]
  const tests = text
    .split(',')
    .filter(part => part !== '')
    .map(part => {
      const [, field = part, operator, value] = /^([^=!]+)(==|=|!=)(.*)$/.exec(part) ?? []
      if (!allowed.includes(field)) throw new ApiStatusError(400, `field label not supported: ${field}`)
      const read = (object: unknown) =>
        field.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], object)
      return (object: KubeObject) => (String(read(object) ?? '') === value) === (operator !== '!=')
    })
  return object => tests.every(test => test(object))
}

/** Both selectors of a list, watch or deletecollection request. */
export function selectorOf(kind: ResourceKind, query: { labels?: string | null; fields?: string | null }): Selector {
  const labels = labelSelector(query.labels ?? '')
  const fields = fieldSelector(kind, query.fields ?? '')
  return object => labels(object.metadata.labels ?? {}) && fields(object)
}
