import type { KubeObject } from '../../../src/stack/kube.ts'
import { readyAddress, selects } from '../gateway/pods.ts'
import { durationMs } from './durations.ts'
import type { Labels } from './exposition.ts'

/** Live objects by `namespace/name`. */
export interface MonitoringView {
  readonly monitors: ReadonlyMap<string, KubeObject>
  readonly services: ReadonlyMap<string, KubeObject>
  readonly pods: ReadonlyMap<string, KubeObject>
}
export interface Target {
  /** The same as long as it is the same pod, scraped for the same reason. */
  readonly key: string
  readonly url: string
  readonly intervalMs: number
  readonly labels: Labels
}

interface Endpoint {
  port?: string
  targetPort?: number | string
  path?: string
  scheme?: string
  interval?: string
}
interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}
interface MonitorSpec {
  selector?: LabelSelector
  namespaceSelector?: { any?: boolean; matchNames?: string[] }
  endpoints?: Endpoint[]
}
interface ServiceSpec {
  selector?: Record<string, string>
  ports?: { name?: string; port: number; targetPort?: number | string }[]
}
type Containers = { ports?: { name?: string; containerPort: number }[] }[]

/**
 * What the ServiceMonitors of a cluster ask to be scraped: one target per monitor, endpoint, Service and Ready pod.
 * @param chosen labels that a ServiceMonitor must carry to be heard at all; empty takes every one
 */
export function targetsOf(view: MonitoringView, chosen: Readonly<Record<string, string>>): Map<string, Target> {
  const found = new Map<string, Target>()
  for (const monitor of view.monitors.values()) {
    const spec = monitor.spec as MonitorSpec
    if (!matchesAll(chosen, monitor.metadata.labels)) continue
    for (const service of view.services.values()) {
      if (!inScope(monitor, spec, service) || !selected(spec.selector ?? {}, service.metadata.labels)) continue
      for (const [i, endpoint] of (spec.endpoints ?? []).entries()) {
        for (const target of endpointTargets(view, monitor, service, endpoint, i)) found.set(target.key, target)
      }
    }
  }
  return found
}

const matchesAll = (wanted: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>> | undefined) =>
  Object.entries(wanted).every(([name, value]) => labels?.[name] === value)

function inScope(monitor: KubeObject, { namespaceSelector: ns }: MonitorSpec, service: KubeObject): boolean {
  if (ns?.any) return true
  const names = ns?.matchNames?.length ? ns.matchNames : [monitor.metadata.namespace]
  return names.includes(service.metadata.namespace)
}

function selected(selector: LabelSelector, labels: Readonly<Record<string, string>> | undefined): boolean {
  const expressions = selector.matchExpressions ?? []
  return (
    matchesAll(selector.matchLabels ?? {}, labels) &&
    expressions.every(({ key, operator, values = [] }) => {
      const value = labels?.[key]
      if (operator === 'Exists') return value !== undefined
      if (operator === 'DoesNotExist') return value === undefined
      const listed = value !== undefined && values.includes(value)
      return operator === 'In' ? listed : !listed
    })
  )
}

function endpointTargets(
  view: MonitoringView,
  monitor: KubeObject,
  service: KubeObject,
  endpoint: Endpoint,
  index: number,
): Target[] {
  const { selector, ports = [] } = service.spec as ServiceSpec
  const port = endpoint.port === undefined ? undefined : ports.find(p => p.name === endpoint.port)
  const wanted = port === undefined ? endpoint.targetPort : (port.targetPort ?? port.port)
  if (wanted === undefined) return []
  return [...view.pods.values()].flatMap(pod => {
    const { namespace = '', name, uid = '' } = pod.metadata
    if (namespace !== service.metadata.namespace || !selects(selector, pod)) return []
    const address = readyAddress(pod)
    const number = typeof wanted === 'number' ? wanted : namedPort(pod, wanted)
    if (address === undefined || number === undefined) return []
    const instance = `${address}:${number}`
    const url = `${endpoint.scheme ?? 'http'}://${instance}${endpoint.path ?? '/metrics'}`
    const job = service.metadata.name
    const labels = { namespace, pod: name, service: job, job, endpoint: endpoint.port ?? String(wanted), instance }
    const key = `${monitor.metadata.namespace}/${monitor.metadata.name}/${index} ${namespace}/${job} ${uid} ${url}`
    return [{ key, url, labels, intervalMs: durationMs(endpoint.interval ?? '30s') }]
  })
}

function namedPort(pod: KubeObject, wanted: string): number | undefined {
  const spec = pod.spec as { containers?: Containers; initContainers?: Containers }
  const all = [...(spec.containers ?? []), ...(spec.initContainers ?? [])].flatMap(c => c.ports ?? [])
  return all.find(p => p.name === wanted)?.containerPort
}
