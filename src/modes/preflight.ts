import type { Api } from '../cluster/api.ts'
import { explainApiError, isForbidden } from '../cluster/api-error.ts'
import { discover, missingRights } from '../cluster/discover.ts'
import { get, list } from '../cluster/objects.ts'
import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import { defaultStorageClass, gpuFit, isSimulated, onlyGpuNodes, pickAccelerator } from '../platform/nodes.ts'
import { controllerReviews, neededReviews, type ReviewMode, rightText } from '../platform/rbac.ts'
import { groupVersionsOf, isOpenShift, missing, platformFailure } from '../platform/requirements.ts'
import type { WvaController, WvaWanted } from '../platform/wva.ts'
import type { KubeObject } from '../stack/kube.ts'
import { wvaPreflight } from './wva-platform.ts'

export interface Seen {
  readonly accelerator: { key: string; value: string } | undefined
  readonly storageClass: string | undefined
  readonly simulated: boolean
  readonly namespaceExists: boolean
  readonly gpuNodesOnly: boolean
  readonly openShift: boolean
  readonly controller?: WvaController
}

/** OpenShift is told by its Route API. */
const openShiftGroup = 'route.openshift.io/v1'

/** What run has to know of the nodes; without the right to list them, the careful answers. */
export async function clusterFacts(
  api: Api,
  accelerator: { key: string } | undefined,
  signal: AbortSignal,
): Promise<{ simulated: boolean; gpuNodesOnly: boolean; openShift: boolean }> {
  const [nodes, groups] = await Promise.all([optional(api, 'Node', signal), discover(api, [openShiftGroup], signal)])
  return {
    simulated: isSimulated(nodes),
    gpuNodesOnly: onlyGpuNodes(nodes, accelerator),
    openShift: isOpenShift(groups.map(g => g.group)),
  }
}

/** Reads a cluster-scoped list that is optional: without the right to it the answer is undefined. */
async function optional(
  api: Api,
  kind: 'Node' | 'StorageClass' | 'GatewayClass',
  signal: AbortSignal,
): Promise<KubeObject[] | undefined> {
  try {
    return (await list(api, kind, undefined, { signal })).items
  } catch (error) {
    if (isForbidden(error)) return undefined
    throw explainApiError(error, `listing ${kind} objects`)
  }
}

/** Whether the namespace exists; a right that is missing counts as "exists", the next call will tell. */
export async function namespaceExists(api: Api, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await get(api, 'Namespace', undefined, name, signal)) !== undefined
  } catch (error) {
    if (isForbidden(error)) return true
    throw explainApiError(error, `reading namespace ${name}`)
  }
}

/**
 * Fails with PREFLIGHT when the identity lacks rights of this mode, naming all of them, before anything is changed.
 * @param controllerNamespace present for a leg under WVA
 */
export async function checkRights(
  api: Api,
  mode: ReviewMode,
  namespaces: readonly string[],
  signal: AbortSignal,
  log: Log,
  controllerNamespace?: string,
): Promise<void> {
  const wva = controllerNamespace !== undefined
  const reviews = [
    // The stack, and with it the autoscaling, is in the first one.
    ...[...new Set(namespaces)].flatMap((ns, i) => neededReviews(mode, ns, wva && i === 0)),
    ...(wva ? controllerReviews(mode, controllerNamespace) : []),
  ]
  const lacking = await missingRights(api, reviews, signal, log)
  if (lacking.length === 0) return
  throw new UserError('PREFLIGHT', `This identity lacks ${lacking.length} right(s) that mode ${mode} needs.`, {
    why: `Missing: ${[...new Set(lacking.map(rightText))].join('; ')}.`,
    next: `Let a cluster administrator apply the Role for mode ${mode} from docs/rbac.md in the namespace.`,
  })
}

/**
 * Everything that standup has to know and check before it writes: platform, rights, GPU nodes, storage class. All
 * findings of one kind are reported together.
 */
export async function standupPreflight(
  api: Api,
  request: {
    namespace: string
    harnessNamespace: string
    accelerator: 'auto' | { key: string; value: string }
    storageClass: string | undefined
    needsStorage: boolean
    gpus: number
    replicas: number
    maxReplicas: number
    gatewayClass: string
    /** Present for a leg under WVA. */
    wva: WvaWanted | undefined
    /** Pods of this stack stand where the new ones will. */
    stack: string
    signal: AbortSignal
    log: Log
  },
): Promise<Seen> {
  const { signal, log } = request
  const [groups, nodes, classes, gatewayClasses, exists] = await Promise.all([
    discover(api, [...groupVersionsOf(request.wva !== undefined), openShiftGroup], signal),
    optional(api, 'Node', signal),
    request.needsStorage ? optional(api, 'StorageClass', signal) : undefined,
    optional(api, 'GatewayClass', signal).catch(() => undefined),
    namespaceExists(api, request.namespace, signal),
    checkRights(
      api,
      'standup',
      [request.namespace, request.harnessNamespace],
      signal,
      log,
      request.wva?.controllerNamespace,
    ),
  ])
  const lacking = missing(groups, gatewayClasses, request.gatewayClass, request.wva !== undefined)
  if (lacking.length > 0) throw platformFailure(lacking)
  const controller = request.wva && (await wvaPreflight(api, request.wva, { signal, log }))
  if (nodes === undefined)
    log.warning('Nodes cannot be listed with these rights: GPU label and capacity are not checked.')
  const accelerator = pickAccelerator(nodes, request.accelerator)
  if (nodes !== undefined) {
    const pods = await list(api, 'Pod', undefined, {
      fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed',
      signal,
    })
      .then(r => r.items)
      .catch(error => {
        if (isForbidden(error)) return undefined
        throw explainApiError(error, 'listing pods of all namespaces')
      })
    const fit = gpuFit(nodes, pods ?? [], request.gpus, request.replicas, accelerator, request.stack)
    if (!fit.ok) log.warning(`GPU capacity: ${fit.why}`)
    const most = request.wva === undefined ? undefined : request.maxReplicas
    const ceiling = most && gpuFit(nodes, pods ?? [], request.gpus, most, accelerator, request.stack)
    // A pod that finds no GPU counts as a replica for WVA and serves nobody.
    if (fit.ok && ceiling && !ceiling.ok) log.warning(`GPU capacity for max-replicas: ${ceiling.why}`)
  }
  const storageClass = request.needsStorage ? defaultStorageClass(classes, request.storageClass) : undefined
  return {
    accelerator,
    storageClass,
    simulated: isSimulated(nodes),
    namespaceExists: exists,
    gpuNodesOnly: onlyGpuNodes(nodes, accelerator),
    openShift: isOpenShift(groups.map(g => g.group)),
    ...(controller === undefined ? {} : { controller }),
  }
}
