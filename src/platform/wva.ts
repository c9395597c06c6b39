import { UserError } from '../errors.ts'
import { quoted } from '../stack/foreign.ts'
import type { KubeObject } from '../stack/kube.ts'

/** Labels by which the chart's controller is found, whatever its namespace. */
export const controllerSelector = 'app.kubernetes.io/name=workload-variant-autoscaler,control-plane=controller-manager'
/** The one object that says who serves external metrics. */
export const externalApiService = 'v1beta1.external.metrics.k8s.io'

/** What was read of the autoscaling platform; undefined where it may not be read. */
export interface WvaFacts {
  /** Deployments with the controller's labels, of all namespaces or of the expected one. */
  readonly controllers: readonly KubeObject[]
  /** The APIService; null when there is none. */
  readonly apiService: KubeObject | null | undefined
  /** The definition of VariantAutoscaling. */
  readonly definition: KubeObject | undefined
}
export interface WvaWanted {
  readonly controllerNamespace: string
  readonly version: string
}
export interface WvaController {
  readonly namespace: string
  readonly name: string
  readonly version: string
}

/**
 * The controller alone: what belongs to a model is made by standup. It takes only an https address of Prometheus, and the
 * chart's stand-in for a missing certificate of its CA is none that the controller could parse.
 */
export const installController = (namespace: string, version: string): string =>
  `helm upgrade --install workload-variant-autoscaler oci://ghcr.io/llm-d-incubation/workload-variant-autoscaler/workload-variant-autoscaler --version ${version} -n ${namespace} --create-namespace --set va.enabled=false --set hpa.enabled=false --set vllmService.enabled=false --set wva.image.tag=v${version} --set wva.prometheus.baseURL=https://PROMETHEUS:PORT --set wva.prometheus.monitoringNamespace=MONITORING_NAMESPACE --set-file wva.prometheus.caCert=prometheus-ca.pem`
/** Chart 5.2.0: newer ones were reported to read the rules in another way. */
export const installAdapter =
  'helm upgrade --install prometheus-adapter prometheus-adapter --repo https://prometheus-community.github.io/helm-charts --version 5.2.0 -n MONITORING_NAMESPACE -f adapter-values.yaml'

const platform = (what: string, why: string, next: string, ...evidence: string[]): UserError =>
  new UserError('PLATFORM', what, { why, next, evidence })

/**
 * Which WVA controller will decide, and what has to be said about it.
 * @throws UserError PLATFORM naming what was found, before a GPU is taken: no controller, several, another generation,
 * external metrics that are not served or are served by somebody else.
 */
export function judgeWva(facts: WvaFacts, wanted: WvaWanted): { controller: WvaController; notes: string[] } {
  const notes: string[] = []
  const controller = theController(facts.controllers, wanted)
  if (controller.namespace !== wanted.controllerNamespace)
    notes.push(`the WVA controller runs in ${controller.namespace}, not in ${wanted.controllerNamespace}; it is used`)
  if (!/^0\.4\.\d+$/.test(controller.version)) {
    throw platform(
      `The WVA controller ${controller.namespace}/${controller.name} is of version ${controller.version}.`,
      'This version of bench-action drives WVA 0.4.x; other generations have other objects, metrics and rules.',
      `Use a cluster with WVA ${wanted.version}, or a version of bench-action that names yours.`,
    )
  }
  if (controller.version !== wanted.version)
    notes.push(`WVA ${controller.version} is installed where ${wanted.version} was expected; it is used as it is`)
  refuseOtherDefinition(facts.definition)
  judgeApiService(facts.apiService)
  return { controller, notes }
}

function theController(controllers: readonly KubeObject[], wanted: WvaWanted): WvaController {
  const [first, ...others] = controllers
  if (first === undefined) {
    throw platform(
      'No WVA controller is installed.',
      `No Deployment with the labels ${controllerSelector} was found.`,
      'Let a cluster administrator install it once (docs/platform.md), or use wva: false.',
      installController(wanted.controllerNamespace, wanted.version),
      installAdapter,
    )
  }
  if (others.length > 0) {
    throw platform(
      `${controllers.length} WVA controllers run in this cluster.`,
      `Found: ${controllers.map(c => `${c.metadata.namespace}/${c.metadata.name}`).join(', ')}. Both decide about every variant, and an adapter that sums their series doubles the replicas.`,
      'Remove all but one of them.',
    )
  }
  const { name, namespace = '' } = first.metadata
  return { name, namespace, version: versionOf(first) }
}

/** The tag of the manager's image without its `v`; an image that is named by digest alone says so. */
function versionOf(deployment: KubeObject): string {
  const { template } = (deployment.spec ?? {}) as {
    template?: { spec?: { containers?: { name?: string; image?: string }[] } }
  }
  const containers = template?.spec?.containers ?? []
  const image = (containers.find(c => c.name === 'manager') ?? containers[0])?.image ?? ''
  const tag = /:v?([\w.-]+)(?:@.*)?$/.exec(image.split('/').at(-1) ?? '')?.[1]
  return tag ?? (quoted(image, '') === '' ? 'unknown' : `unknown (${quoted(image, '')})`)
}

/** From generation 0.5 on a variant must name its Deployment; one of 0.4 would be refused. */
function refuseOtherDefinition(definition: KubeObject | undefined): void {
  const { versions } = (definition?.spec ?? {}) as {
    versions?: {
      name?: string
      schema?: { openAPIV3Schema?: { properties?: { spec?: { required?: unknown } } } }
    }[]
  }
  const required = versions?.find(v => v.name === 'v1alpha1')?.schema?.openAPIV3Schema?.properties?.spec?.required
  if (!Array.isArray(required) || !required.includes('scaleTargetRef')) return
  throw platform(
    'The installed definition of VariantAutoscaling is of WVA 0.5 or newer.',
    'Its spec requires scaleTargetRef; the objects of 0.4.x are refused by it.',
    'Use a cluster with WVA 0.4.2, or a version of bench-action that names yours.',
  )
}

function judgeApiService(apiService: KubeObject | null | undefined): void {
  if (apiService === undefined) return
  if (apiService === null) {
    throw platform(
      'Nobody serves external metrics in this cluster.',
      `There is no APIService ${externalApiService}; an HPA cannot read what WVA decides.`,
      'Let a cluster administrator install prometheus-adapter with the rule of docs/platform.md.',
      installAdapter,
    )
  }
  const { service } = (apiService.spec ?? {}) as { service?: { namespace?: string; name?: string } }
  const owner = `${quoted(service?.namespace, '?')}/${quoted(service?.name, '?')}`
  const conditions = (
    apiService.status as { conditions?: { type: string; status: string; message?: string }[] } | undefined
  )?.conditions
  if (!/prometheus-adapter/.test(service?.name ?? '')) {
    throw platform(
      `The external metrics API of this cluster belongs to ${owner}.`,
      'A cluster has one owner of it; WVA 0.4.x is read through prometheus-adapter. KEDA claims it again within minutes when it is taken away.',
      'Use a cluster without that owner, or replace it by prometheus-adapter.',
    )
  }
  const available = conditions?.find(c => c.type === 'Available')
  if (available !== undefined && available.status !== 'True') {
    throw platform(
      `The external metrics API (${owner}) is not available.`,
      quoted(available.message, 'Its condition Available is not True.'),
      `Look at its pods and at \`kubectl describe apiservice ${externalApiService}\`.`,
    )
  }
}

/**
 * WVA 0.4.x groups variants by model across namespaces and keys its decisions by name alone.
 * @param variants VariantAutoscalings of all namespaces
 * @throws UserError PLATFORM when the model is under WVA elsewhere
 */
export function judgeVariants(variants: readonly KubeObject[], own: { namespace: string; model: string }): void {
  const others = variants.filter(
    v => v.metadata.namespace !== own.namespace && (v.spec as { modelID?: string } | undefined)?.modelID === own.model,
  )
  if (others.length === 0) return
  throw platform(
    `The model ${own.model} is already under WVA in another namespace.`,
    `Found: ${others.map(v => `VariantAutoscaling ${v.metadata.namespace}/${v.metadata.name}`).join(', ')}. WVA 0.4.x mixes up two namespaces that serve the same model id.`,
    'Wait until that one is gone, or remove it.',
  )
}
