import type { Api } from '../cluster/api.ts'
import { explainApiError, isForbidden, isNotFound } from '../cluster/api-error.ts'
import { get, list } from '../cluster/objects.ts'
import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import {
  controllerSelector,
  externalApiService,
  judgeVariants,
  judgeWva,
  type WvaController,
  type WvaWanted,
} from '../platform/wva.ts'
import { quoted } from '../stack/foreign.ts'
import type { KubeObject } from '../stack/kube.ts'

/** Undefined without the right, or where the server does not know the kind. */
async function optional<T>(what: string, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (isForbidden(error) || isNotFound(error)) return undefined
    throw explainApiError(error, what)
  }
}

/**
 * Reads who would decide, who serves the metric and who else uses WVA for the model, and judges it.
 * @throws UserError PLATFORM before anything is written; PREFLIGHT when no controller may be looked for.
 */
export async function wvaPreflight(
  api: Api,
  wanted: WvaWanted,
  options: { signal: AbortSignal; log: Log },
): Promise<WvaController> {
  const { signal, log } = options
  const [controllers, apiService, definition] = await Promise.all([
    findControllers(api, wanted.controllerNamespace, signal, log),
    readApiService(api, signal),
    optional(
      'reading the definition of VariantAutoscaling',
      get(api, 'CustomResourceDefinition', undefined, 'variantautoscalings.llmd.ai', signal),
    ),
  ])
  const { controller, notes } = judgeWva({ controllers, apiService, definition }, wanted)
  for (const note of notes) log.warning(note)
  log.info(`WVA ${controller.version} in ${controller.namespace} will decide`)
  return controller
}

async function findControllers(
  api: Api,
  namespace: string,
  signal: AbortSignal,
  log: Log,
): Promise<readonly KubeObject[]> {
  const options = { labelSelector: controllerSelector, signal }
  const everywhere = await optional(
    'listing WVA controllers',
    list(api, 'Deployment', undefined, options).then(r => r.items),
  )
  if (everywhere !== undefined) return everywhere
  log.warning(
    `Deployments of all namespaces may not be listed: a second WVA controller outside ${namespace} is not seen.`,
  )
  const here = await optional(
    'listing WVA controllers',
    list(api, 'Deployment', namespace, options).then(r => r.items),
  )
  if (here !== undefined) return here
  throw new UserError('PREFLIGHT', `This identity may not look for the WVA controller in ${namespace}.`, {
    why: 'Without it nobody can tell whether there is one, or two.',
    next: 'Let a cluster administrator apply the Role for the namespace of WVA from docs/rbac.md.',
  })
}

async function readApiService(api: Api, signal: AbortSignal): Promise<KubeObject | null | undefined> {
  try {
    return (await get(api, 'APIService', undefined, externalApiService, signal)) ?? null
  } catch (error) {
    if (isForbidden(error)) return undefined
    throw explainApiError(error, `reading APIService ${externalApiService}`)
  }
}

/**
 * One leg of a model is under WVA at a time. Asked when we hold its Lease: a leg of ours that is at work is waited for.
 * @throws UserError PLATFORM naming the VariantAutoscaling of somebody else
 */
export async function refuseSameModel(
  api: Api,
  own: { namespace: string; model: string },
  signal: AbortSignal,
): Promise<void> {
  const variants = await optional(
    'listing VariantAutoscalings',
    list(api, 'VariantAutoscaling', undefined, { signal }).then(r => r.items),
  )
  if (variants !== undefined) judgeVariants(variants, own)
}

/**
 * A leg without WVA must not be scaled by anybody: an HPA on its Deployment would make it another leg.
 * @throws UserError PREFLIGHT naming the HPA
 */
export async function refuseScaledBaseline(
  api: Api,
  where: { namespace: string; deployment: string },
  signal: AbortSignal,
): Promise<void> {
  const hpas = await optional(
    'listing HPAs',
    list(api, 'HorizontalPodAutoscaler', where.namespace, { signal }).then(r => r.items),
  )
  const found = (hpas ?? []).find(
    h => (h.spec as { scaleTargetRef?: { name?: string } } | undefined)?.scaleTargetRef?.name === where.deployment,
  )
  if (found === undefined) return
  throw new UserError('PREFLIGHT', `The HPA ${quoted(found.metadata.name, '?')} scales the Deployment of this leg.`, {
    why: 'A leg without WVA keeps its number of replicas; with an HPA on its Deployment it would not be a baseline.',
    next: `Remove it, or tear the stack down first (mode: teardown, namespace: ${where.namespace}).`,
  })
}
