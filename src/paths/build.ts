import { createHash } from 'node:crypto'
import { UserError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { acceleratorName } from '../stack/accelerator.ts'
import { type HpaBehavior, restingReplicas } from '../stack/components/autoscaling.ts'
import { modelLabel, stackName } from '../stack/names.ts'
import type { Images, ModelSource, PathSettings, PodPlacement, StackSpec } from '../stack/spec.ts'
import { wellLitPaths } from './index.ts'
import { applyOverrides } from './overrides.ts'

/** The inputs that shape a stack. */
export interface StackRequest {
  readonly namespace: { readonly model: string; readonly harness: string }
  readonly release: string
  readonly model: string
  readonly wellLitPath: string
  readonly replicas: number
  readonly wva: boolean
  readonly maxReplicas: number
  readonly hpaBehavior: HpaBehavior
  readonly wvaNamespace: string
  readonly wvaVersion: string
  readonly serviceMonitorLabels: Readonly<Record<string, string>>
  readonly images: Images
  readonly placement: PodPlacement
  readonly modelSource: ModelSource
  readonly accessMode: string
  readonly modelCacheSize: string
  readonly hfToken?: string | undefined
  readonly hfEndpoint?: string | undefined
  readonly overrides: Readonly<Record<string, unknown>>
  readonly timeouts: { readonly downloadMs: number }
}
/** What preflight found out. */
export interface StackFacts {
  readonly accelerator?: { key: string; value: string } | undefined
  readonly storageClass?: string | undefined
  readonly gated: boolean
  /** Every node has GPUs: helper pods may run on them. */
  readonly gpuNodesOnly?: boolean | undefined
  readonly openShift?: boolean | undefined
  /** The WVA controller that was found. */
  readonly controller?: { readonly namespace: string; readonly name: string; readonly version: string } | undefined
}

/**
 * A path's settings after the user's overrides.
 * @throws UserError INPUT for a path that does not exist or an override that does not fit.
 */
export function settingsOf(request: Pick<StackRequest, 'wellLitPath' | 'overrides'>): PathSettings {
  const { wellLitPath } = request
  const path = Object.hasOwn(wellLitPaths, wellLitPath) ? wellLitPaths[wellLitPath] : undefined
  if (path !== undefined) return applyOverrides(path, request.overrides)
  const near = nearest(wellLitPath, Object.keys(wellLitPaths))
  throw new UserError('INPUT', `There is no well-lit path ${JSON.stringify(wellLitPath.slice(0, 80))}.`, {
    why: near === undefined ? 'This version does not have it.' : `Did you mean ${near}?`,
    next: `Set well-lit-path to one of: ${Object.keys(wellLitPaths).join(', ')}.`,
  })
}

/** 12 hex digits over the settings, whatever the order in which their keys were written. */
function hashOf(settings: PathSettings): string {
  const sorted = (_key: string, value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value
  return createHash('sha256').update(JSON.stringify(settings, sorted)).digest('hex').slice(0, 12)
}

function autoscalingOf(request: StackRequest, facts: StackFacts): NonNullable<StackSpec['autoscaling']> {
  return {
    maxReplicas: request.maxReplicas,
    behavior: request.hpaBehavior,
    acceleratorName: acceleratorName(facts.accelerator?.value),
    // Without a cluster to ask, a plan names the controller that is expected.
    controllerNamespace: facts.controller?.namespace ?? request.wvaNamespace,
    controllerName: facts.controller?.name ?? 'workload-variant-autoscaler-controller-manager',
    controllerVersion: facts.controller?.version ?? request.wvaVersion,
    serviceMonitorLabels: request.serviceMonitorLabels,
  }
}

/** Inputs and facts to the one value that every object is computed from. */
export function buildSpec(request: StackRequest, facts: StackFacts): StackSpec {
  const settings = settingsOf(request)
  const label = modelLabel(request.namespace.model, request.model)
  return {
    wellLitPath: request.wellLitPath,
    namespace: request.namespace.model,
    harnessNamespace: request.namespace.harness,
    release: request.release,
    model: request.model,
    label,
    stack: stackName(request.release, label),
    replicas: request.wva ? restingReplicas : request.replicas,
    ...(request.wva ? { autoscaling: autoscalingOf(request, facts) } : {}),
    gpusPerReplica: settings.tensorParallel,
    ...(facts.accelerator === undefined ? {} : { accelerator: facts.accelerator }),
    ...(facts.gpuNodesOnly ? { gpuNodesOnly: true } : {}),
    ...(facts.openShift ? { openShift: true } : {}),
    images: request.images,
    placement: request.placement,
    source: request.modelSource,
    storage: {
      accessMode: request.accessMode,
      size: request.modelCacheSize,
      ...(facts.storageClass === undefined ? {} : { className: facts.storageClass }),
    },
    ...(request.hfToken === undefined ? {} : { hfToken: request.hfToken }),
    gated: facts.gated,
    ...(request.hfEndpoint === undefined ? {} : { hfEndpoint: request.hfEndpoint }),
    downloadTimeoutSeconds: Math.ceil(request.timeouts.downloadMs / 1000),
    settings,
    settingsHash: hashOf(settings),
  }
}
