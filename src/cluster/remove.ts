import type { Log } from '../log.ts'
import { inventoryName, type KubeObject, stackLabel } from '../stack/kube.ts'
import type { Api } from './api.ts'
import { ApiError, isForbidden, isNotFound } from './api-error.ts'
import { isOurs, list, remove } from './objects.ts'
import { Observer } from './observer.ts'
import { describe, type Kind, resources } from './resources.ts'

/** Gone before anything else, so that nothing re-creates pods or sends them traffic while the rest goes. */
const firstKinds: readonly Kind[] = ['HorizontalPodAutoscaler', 'VariantAutoscaling', 'HTTPRoute']
/** Kept by an ordinary teardown: the downloaded weights and the token. */
export const keptKinds: readonly Kind[] = ['PersistentVolumeClaim', 'Secret']
/** Everything that can carry our label, in the order it is listed to people. */
export const ownedKinds: readonly Kind[] = [
  ...firstKinds,
  'Deployment',
  'ReplicaSet',
  'Job',
  'Pod',
  'Service',
  'Gateway',
  'InferencePool',
  'DestinationRule',
  'ServiceMonitor',
  'RoleBinding',
  'Role',
  'ServiceAccount',
  'ConfigMap',
  'PersistentVolumeClaim',
  'Secret',
]
/** The 17 kinds (and Route on OpenShift) that `purge` empties, whoever made the objects. */
export const purgeKinds: readonly Kind[] = [
  'Deployment',
  'Service',
  'Secret',
  'Gateway',
  'InferenceModel',
  'InferencePool',
  'HTTPRoute',
  'ConfigMap',
  'Job',
  'Role',
  'RoleBinding',
  'ServiceAccount',
  'HorizontalPodAutoscaler',
  'VariantAutoscaling',
  'ServiceMonitor',
  'Pod',
  'PersistentVolumeClaim',
  'Route',
]

/** Longest grace period of our pods plus time for volumes and finalizers. */
export const goneTimeoutMs = 4 * 60_000

export interface RemovalRequest {
  /** Each namespace once, also when model and harness share one. */
  readonly namespaces: readonly string[]
  /** Ownership label value; undefined: every stack of ours in the namespaces. */
  readonly stack?: string | undefined
  readonly deep: boolean
  readonly purge: boolean
  /** How long objects may take to go after they were deleted. */
  readonly timeoutMs: number
  /** Called when all but the inventory is gone: what is found by the inventory alone has to go before it. */
  readonly beforeInventory?: () => Promise<void>
  readonly signal: AbortSignal
  readonly log: Log
}
export interface Removal {
  readonly deleted: readonly string[]
  readonly kept: readonly string[]
  /** Still there after the time-out, each with the finalizers that hold it. */
  readonly leftovers: readonly string[]
  /** Deletes and lists that failed; they did not stop the others. */
  readonly failures: readonly string[]
}

/**
 * Removes what carries our label (or, with `purge`, everything of 17 kinds) from the namespaces: scalers and route first,
 * then all other kinds at once, the inventory last, after a listing has shown that the rest is gone.
 * One failing delete does not stop the others. Nothing there is success.
 */
export async function removeStack(api: Api, request: RemovalRequest): Promise<Removal> {
  const failures: string[] = []
  const deleted: string[] = []
  const keep = request.deep || request.purge ? [] : keptKinds
  const found = await listOwned(api, request, failures)
  const targets = found.filter(o => !keep.includes(o.kind as Kind))
  const roots = targets.filter(
    o => !o.metadata.ownerReferences?.some(r => r.controller && targets.some(t => t.metadata.uid === r.uid)),
  )
  const isInventory = (o: KubeObject) => o.kind === 'ConfigMap' && o.metadata.name === inventoryName
  const isFirst = (o: KubeObject) => firstKinds.includes(o.kind as Kind)

  const removeAll = (objects: readonly KubeObject[]) =>
    Promise.all(
      objects.map(async object => {
        try {
          if (await remove(api, object, { signal: request.signal })) deleted.push(describe(object))
        } catch (error) {
          request.signal.throwIfAborted()
          failures.push(`${describe(object)}: ${(error as Error).message}`)
        }
      }),
    )
  await removeAll(roots.filter(isFirst))
  await removeAll(roots.filter(o => !isFirst(o) && !isInventory(o)))
  if (targets.length > 0) request.log.info(`deleted ${deleted.length} objects, waiting until they are gone`)

  const rest = await waitGone(
    api,
    request,
    targets.filter(o => !isInventory(o)),
    failures,
  )
  if (rest.length === 0 && failures.length === 0) {
    await request.beforeInventory?.()
    await removeAll(roots.filter(isInventory))
  }
  const kept = found.filter(o => keep.includes(o.kind as Kind)).map(describe)
  return { deleted, kept, leftovers: rest.map(leftoverText), failures }
}

const leftoverText = (o: KubeObject): string => {
  const finalizers = o.metadata.finalizers?.length ? `, held by finalizers ${o.metadata.finalizers.join(', ')}` : ''
  return `${describe(o)} in ${o.metadata.namespace}${o.metadata.deletionTimestamp ? ' (deletion requested' : ' (not deleted'}${finalizers})`
}

/** Lists every kind concurrently; a kind that the cluster does not know has no objects, a forbidden one is a failure. */
export async function listOwned(
  api: Api,
  request: Pick<RemovalRequest, 'namespaces' | 'stack' | 'purge' | 'signal'>,
  failures: string[],
): Promise<KubeObject[]> {
  const kinds = request.purge ? [...new Set([...ownedKinds, ...purgeKinds])] : ownedKinds
  const selector = request.stack === undefined ? stackLabel : `${stackLabel}=${request.stack}`
  const lists = await Promise.all(
    request.namespaces.flatMap(namespace =>
      kinds.map(async kind => {
        try {
          const all = request.purge && purgeKinds.includes(kind)
          const { items } = await list(api, kind, namespace, {
            ...(all ? {} : { labelSelector: selector }),
            signal: request.signal,
          })
          return items.filter(o => (all ? !belongsToCluster(o) : isOurs(o, request.stack)))
        } catch (error) {
          request.signal.throwIfAborted()
          if (!isNotFound(error)) {
            const what = isForbidden(error)
              ? `no right to list ${resources[kind].plural} in ${namespace}`
              : (error as Error).message
            failures.push(`${kind}: ${what}`)
          }
          return []
        }
      }),
    ),
  )
  return lists.flat()
}

/** Objects that the cluster itself puts into every namespace and makes again at once. */
function belongsToCluster(o: KubeObject): boolean {
  const { name } = o.metadata
  if (o.kind === 'ConfigMap')
    return ['kube-root-ca.crt', 'openshift-service-ca.crt', 'istio-ca-root-cert', 'odh-trusted-ca-bundle'].includes(
      name,
    )
  if (o.kind === 'ServiceAccount') return ['default', 'builder', 'deployer', 'pipeline'].includes(name)
  return false
}

/**
 * Follows the deleted objects by watches until none is left or the time is up; the returned objects are what is still
 * there, as they were last seen.
 */
async function waitGone(
  api: Api,
  request: RemovalRequest,
  targets: readonly KubeObject[],
  failures: string[],
): Promise<KubeObject[]> {
  if (targets.length === 0) return []
  const uids = new Set(targets.map(t => t.metadata.uid))
  const namespaces = [...new Set(targets.map(t => t.metadata.namespace ?? ''))]
  const rest = await Promise.all(
    namespaces.map(async namespace => {
      const kinds = [...new Set(targets.filter(t => t.metadata.namespace === namespace).map(t => t.kind as Kind))]
      const observer = new Observer(api, namespace, request.log, request.signal)
      const left = () => kinds.flatMap(kind => observer.view.list(kind)).filter(o => uids.has(o.metadata.uid))
      try {
        // Only ours: a purge aside, nobody else's Secrets are read.
        const only = request.purge ? {} : { labelSelector: stackLabel }
        await Promise.all(kinds.map(kind => observer.watch(kind, only)))
        await observer.until(() => (left().length === 0 ? true : undefined), {
          timeoutMs: request.timeoutMs,
          onTimeout: () => new Error('not gone'),
        })
        return []
      } catch (error) {
        request.signal.throwIfAborted()
        if (error instanceof ApiError) {
          failures.push(`${namespace}: whether everything is gone could not be watched: ${error.message}`)
          return targets.filter(t => t.metadata.namespace === namespace)
        }
        return left()
      } finally {
        await observer.close()
      }
    }),
  )
  return rest.flat()
}
