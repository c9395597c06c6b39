import type { KubeObject } from '../../../src/stack/kube.ts'
import { type ContainerSpec, type Pod, quantity } from '../controllers/objects.ts'

/** A container cannot be created because something that its environment names is missing: CreateContainerConfigError. */
export class ConfigError extends Error {}

/** Reads a ConfigMap or Secret of the pod's namespace. */
export type Lookup = (kind: 'ConfigMap' | 'Secret', name: string) => KubeObject | undefined

/** The values of a ConfigMap or Secret as bytes. */
export function dataOf(object: KubeObject): Map<string, Buffer> {
  const coded = object.kind === 'Secret'
  const all = new Map<string, Buffer>()
  for (const [key, value] of Object.entries((object.data ?? {}) as Record<string, string>)) {
    all.set(key, Buffer.from(value, coded ? 'base64' : 'utf8'))
  }
  for (const [key, value] of Object.entries((object.binaryData ?? {}) as Record<string, string>))
    all.set(key, Buffer.from(value, 'base64'))
  return all
}

/** `$(NAME)` becomes the variable's value, `$$(NAME)` the text `$(NAME)`; an unknown name stays as it is. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$|\(([^()]*)\))/g, (whole, kind: string, name: string | undefined) => {
    if (kind === '$') return '$'
    return name !== undefined && Object.hasOwn(env, name) ? env[name]! : whole
  })
}

/** What `fieldRef` of the downward API resolves to. */
export function field(pod: Pod, path: string, address: { podIP: string; hostIP: string }): string {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path)
  if (keyed) return pod.metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? ''
  switch (path) {
    case 'metadata.labels':
    case 'metadata.annotations':
      return Object.entries(pod.metadata[path.slice('metadata.'.length) as 'labels' | 'annotations'] ?? {})
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .sort()
        .join('\n')
    case 'metadata.name':
      return pod.metadata.name
    case 'metadata.namespace':
      return pod.metadata.namespace ?? ''
    case 'metadata.uid':
      return pod.metadata.uid ?? ''
    case 'spec.nodeName':
      return pod.spec.nodeName ?? ''
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? 'default'
    case 'status.podIP':
    case 'status.podIPs':
      return address.podIP
    case 'status.hostIP':
      return address.hostIP
    default:
      throw new ConfigError(`unsupported fieldPath: ${path}`)
  }
}

/**
 * The container's own variables, in order: `envFrom`, then `env`, where `$(NAME)` sees what came before.
 * @throws ConfigError with the kubelet's words when a ConfigMap, Secret or key is missing and not optional.
 */
export function containerEnv(
  pod: Pod,
  container: ContainerSpec,
  base: Readonly<Record<string, string>>,
  lookup: Lookup,
  address: { podIP: string; hostIP: string },
): Record<string, string> {
  const env: Record<string, string> = { ...base }
  for (const source of container.envFrom ?? []) {
    const ref = source.configMapRef ?? source.secretRef
    if (ref === undefined) continue
    const kind = source.configMapRef ? 'ConfigMap' : 'Secret'
    const object = lookup(kind, ref.name)
    if (object === undefined && !ref.optional) throw new ConfigError(`${kind.toLowerCase()} "${ref.name}" not found`)
    for (const [key, value] of object ? dataOf(object) : []) env[(source.prefix ?? '') + key] = value.toString('utf8')
  }
  const fromKey = (
    kind: 'ConfigMap' | 'Secret',
    ref: { name: string; key: string; optional?: boolean },
  ): string | undefined => {
    const object = lookup(kind, ref.name)
    if (object === undefined && !ref.optional) throw new ConfigError(`${kind.toLowerCase()} "${ref.name}" not found`)
    const value = object && dataOf(object).get(ref.key)
    if (value === undefined && !ref.optional) {
      throw new ConfigError(`couldn't find key ${ref.key} in ${kind} ${pod.metadata.namespace}/${ref.name}`)
    }
    return value?.toString('utf8')
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    let resolved: string | undefined
    if (valueFrom === undefined) resolved = expand(value ?? '', env)
    else if (valueFrom.fieldRef) resolved = field(pod, valueFrom.fieldRef.fieldPath, address)
    else if (valueFrom.secretKeyRef) resolved = fromKey('Secret', valueFrom.secretKeyRef)
    else if (valueFrom.configMapKeyRef) resolved = fromKey('ConfigMap', valueFrom.configMapKeyRef)
    else if (valueFrom.resourceFieldRef) {
      const [list, resource] = valueFrom.resourceFieldRef.resource.split('.') as ['limits' | 'requests', string]
      resolved = String(Math.ceil(quantity(container.resources?.[list]?.[resource])))
    }
    if (resolved !== undefined) env[name] = resolved
  }
  return env
}

const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/**
 * A function that turns the container's paths into paths of this machine wherever they stand in a text: a mount path
 * counts at the start of the text or behind a character that cannot belong to a path, and up to a `/` or the end of a name.
 * @param mounts absolute path in the container -> folder on this machine
 */
export function pathRewriter(mounts: ReadonlyMap<string, string>): (text: string) => string {
  const names = [...mounts.keys()].sort((a, b) => b.length - a.length)
  if (names.length === 0) return text => text
  const pattern = new RegExp(`(?<![\\w.~/}\\])@%+-])(${names.map(literal).join('|')})(?![\\w.-])`, 'g')
  return text => text.replace(pattern, (_whole, mount: string) => mounts.get(mount)!)
}
