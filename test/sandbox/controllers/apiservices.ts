import { type ApiService, type Unavailable, upstreamOf } from '../api/aggregation.ts'
import { probe } from '../api/relay.ts'
import { same } from '../api/same.ts'
import type { Cluster } from './cluster.ts'
import { serviceNameLabel } from './endpoints.ts'
import { type Condition, withCondition } from './objects.ts'

const resource = 'apiservices.apiregistration.k8s.io'

/**
 * Keeps the condition `Available` of every APIService: on each change of it, its Service or its endpoints, and by time.
 * @param resyncMs how long a result is believed; after a failure the next check comes earlier, and later each time
 */
export function startApiServiceController(cluster: Cluster, resyncMs: number): void {
  const timers = new Map<string, () => void>()
  const failures = new Map<string, number>()
  const running = new Set<string>()
  const again = new Set<string>()

  const check = async (name: string): Promise<void> => {
    timers.get(name)?.()
    timers.delete(name)
    const found = cluster.get<ApiService>(resource, undefined, name)
    if (!found || found.metadata.deletionTimestamp) return void failures.delete(name)
    const problem = await problemOf(cluster, found)
    const failed = problem?.reason === 'FailedDiscoveryCheck' ? (failures.get(name) ?? 0) + 1 : 0
    failures.set(name, failed)
    report(cluster, found, problem)
    const wait = failed > 0 ? Math.min(resyncMs, 5 * 2 ** failed) : resyncMs
    timers.set(
      name,
      cluster.after(wait, () => sync(name)),
    )
  }
  const sync = cluster.queue(name => {
    if (running.has(name)) return void again.add(name)
    running.add(name)
    void check(name)
      .catch(error =>
        cluster.guard(() => {
          throw error
        }),
      )
      .finally(() => {
        running.delete(name)
        if (again.delete(name)) sync(name)
      })
  })
  const syncFor = (namespace: string | undefined, service: string | undefined) => {
    for (const { metadata, spec } of cluster.list<ApiService>(resource))
      if (spec.service?.namespace === namespace && spec.service?.name === service) sync(metadata.name)
  }
  cluster.watch([resource], ({ object, previous }) => {
    // A new status is this controller's own.
    if (!same(object.spec, previous?.spec)) sync(object.metadata.name)
  })
  cluster.watch(['services'], ({ object: { metadata: m } }) => syncFor(m.namespace, m.name))
  cluster.watch(['endpointslices.discovery.k8s.io'], ({ object: { metadata: m } }) =>
    syncFor(m.namespace, m.labels?.[serviceNameLabel]),
  )
}

/** What stands between a client and the API behind an APIService; undefined when it answers. */
async function problemOf(cluster: Cluster, found: ApiService): Promise<Unavailable | undefined> {
  if (!found.spec.service) return undefined
  const upstream = upstreamOf(cluster.store, found)
  if ('reason' in upstream) return upstream
  const path = `/apis/${found.spec.group}/${found.spec.version}`
  const url = `https://${upstream.host}:${upstream.port}${path}`
  const failed = (text: string): Unavailable => ({
    reason: 'FailedDiscoveryCheck',
    message: `failing or missing response from ${url}: ${text}`,
  })
  try {
    const status = await probe(upstream, path, 'system:kube-aggregator', ['system:masters'], 5000)
    return status >= 200 && status < 300 ? undefined : failed(`bad status from ${url}: ${status}`)
  } catch (error) {
    return failed(`Get "${url}": ${(error as Error).message}`)
  }
}

function report(cluster: Cluster, found: ApiService, problem: Unavailable | undefined): void {
  const passed = found.spec.service
    ? { reason: 'Passed', message: 'all checks passed' }
    : { reason: 'Local', message: 'Local APIServices are always available' }
  const condition: Condition = { type: 'Available', status: problem ? 'False' : 'True', ...(problem ?? passed) }
  const next = (old: Record<string, unknown>) => ({
    ...old,
    conditions: withCondition(old.conditions as Condition[] | undefined, condition),
  })
  cluster.setStatus(found, resource, next, 'kube-apiserver')
}
