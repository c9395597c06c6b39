import * as client from '@kubernetes/client-node'
import { groupVersion, type ResourceKind } from './kinds.ts'

interface Attribute {
  baseName: string
  type: string
}
const models = client as unknown as Record<string, { attributeTypeMap?: readonly Attribute[] } | undefined>

/** The generated client's model of a built-in kind: `V1Deployment`, `V2HorizontalPodAutoscaler`, `CoreV1Event`. */
function modelOf(kind: ResourceKind): string | undefined {
  const name = `${kind.versions[0]?.toUpperCase()}${kind.kind}`
  return [name, `Core${name}`].find(n => models[n]?.attributeTypeMap)
}

export interface UnknownField {
  /** `spec.template.spec.containers[0].foo` */
  path: string
  /** `.spec.template.spec.containers[name="main"].foo`, the way server-side apply writes it. */
  typedPath: string
}

/** Finds fields that a built-in kind does not have; with `prune` they are removed from the object in place. */
export function unknownFields(kind: ResourceKind, object: object, prune = false): UnknownField[] {
  const found: UnknownField[] = []
  const model = kind.builtin ? modelOf(kind) : undefined
  const walk = (value: unknown, type: string, path: string, typedPath: string): void => {
    if (typeof value !== 'object' || value === null) return
    const list = /^(?:Array|Set)<(.+)>$/.exec(type)
    if (list && Array.isArray(value)) {
      value.forEach((item: { name?: unknown } | null, i) => {
        const key = typeof item?.name === 'string' ? `[name="${item.name}"]` : `[${i}]`
        walk(item, list[1] as string, `${path}[${i}]`, typedPath + key)
      })
      return
    }
    const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)
    const attributes = models[type]?.attributeTypeMap
    if (!map && !attributes) return
    for (const [name, child] of Object.entries(value)) {
      const childPath = path === '' ? name : `${path}.${name}`
      const childType = map ? map[1] : attributes?.find(a => a.baseName === name)?.type
      if (childType !== undefined) walk(child, childType, childPath, `${typedPath}.${name}`)
      else {
        found.push({ path: childPath, typedPath: `${typedPath}.${name}` })
        if (prune) delete (value as Record<string, unknown>)[name]
      }
    }
  }
  if (model) walk(object, model, '', '')
  return found
}

/** `failed to create typed patch object (NS/NAME; apps/v1, Kind=Deployment)`: how every refused apply begins. */
export const typedObjectError = (kind: ResourceKind, namespace: string, name: string): string =>
  `failed to create typed patch object (${namespace}/${name}; ${groupVersion(kind.group, kind.versions[0] ?? '')}, Kind=${kind.kind})`
