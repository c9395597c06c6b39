import { UserError } from '../errors.ts'
import type { KubeObject } from '../stack/kube.ts'
import { installAdapter, installController } from './wva.ts'

/** One piece of cluster-wide software that the stack stands on. */
export interface Requirement {
  readonly id: string
  readonly name: string
  readonly version: string
  /** Group/version and the kinds that must be served. */
  readonly serves: readonly { readonly groupVersion: string; readonly kinds: readonly string[] }[]
  /** A GatewayClass that must exist. */
  readonly gatewayClass?: string
  /** Needed by a leg under WVA alone. */
  readonly wva?: true
  /** Commands that install it at the pinned version, for a cluster administrator. */
  readonly install: readonly string[]
}

const istioValues = [
  '--set-string meshConfig.defaultConfig.proxyMetadata.ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true',
  '--set-string pilot.env.ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true',
].join(' ')

/** What must exist, in the order in which it has to be installed. The pins are those of the llm-d-benchmark reference. */
export const requirements: readonly Requirement[] = [
  {
    id: 'gateway-api',
    name: 'Gateway API custom resource definitions',
    version: 'v1.3.0',
    serves: [{ groupVersion: 'gateway.networking.k8s.io/v1', kinds: ['GatewayClass', 'Gateway', 'HTTPRoute'] }],
    install: ['kubectl apply --server-side -k "https://github.com/kubernetes-sigs/gateway-api/config/crd/?ref=v1.3.0"'],
  },
  {
    id: 'inference-extension',
    name: 'Gateway API inference extension custom resource definitions',
    version: 'v1.2.0',
    serves: [
      { groupVersion: 'inference.networking.k8s.io/v1', kinds: ['InferencePool'] },
      { groupVersion: 'inference.networking.x-k8s.io/v1alpha2', kinds: ['InferenceObjective'] },
    ],
    install: [
      'kubectl apply --server-side -k "https://github.com/kubernetes-sigs/gateway-api-inference-extension/config/crd/?ref=v1.2.0"',
    ],
  },
  {
    id: 'istio',
    name: 'istio with the inference extension',
    version: '1.28.1',
    serves: [{ groupVersion: 'networking.istio.io/v1beta1', kinds: ['DestinationRule'] }],
    gatewayClass: 'istio',
    install: [
      'helm upgrade --install istio-base base --repo https://istio-release.storage.googleapis.com/charts --version 1.28.1 -n istio-system --create-namespace',
      `helm upgrade --install istiod istiod --repo https://istio-release.storage.googleapis.com/charts --version 1.28.1 -n istio-system --wait ${istioValues}`,
    ],
  },
  {
    id: 'prometheus-operator',
    name: 'Prometheus operator custom resource definitions',
    version: 'any',
    serves: [{ groupVersion: 'monitoring.coreos.com/v1', kinds: ['ServiceMonitor'] }],
    wva: true,
    install: [
      'helm upgrade --install prometheus kube-prometheus-stack --repo https://prometheus-community.github.io/helm-charts -n monitoring --create-namespace',
    ],
  },
  {
    id: 'wva',
    name: 'Workload Variant Autoscaler',
    version: '0.4.2',
    serves: [{ groupVersion: 'llmd.ai/v1alpha1', kinds: ['VariantAutoscaling'] }],
    wva: true,
    install: [installController('llm-d-autoscaler', '0.4.2')],
  },
  {
    id: 'external-metrics',
    name: 'an external metrics API (prometheus-adapter)',
    version: 'chart 5.2.0',
    serves: [{ groupVersion: 'external.metrics.k8s.io/v1beta1', kinds: [] }],
    wva: true,
    install: [installAdapter],
  },
]

/** What a leg stands on. */
export const requirementsOf = (wva: boolean): readonly Requirement[] =>
  requirements.filter(r => wva || r.wva === undefined)

export const groupVersionsOf = (wva: boolean): readonly string[] =>
  requirementsOf(wva).flatMap(r => r.serves.map(s => s.groupVersion))

export interface Missing {
  readonly requirement: Requirement
  readonly what: string
}

/** What the cluster lacks. GatewayClasses are undefined when they may not be listed: then they are not judged. */
export function missing(
  served: readonly { group: string; version: string; kinds: readonly string[] }[],
  gatewayClasses: readonly KubeObject[] | undefined,
  gatewayClass: string,
  wva = false,
): Missing[] {
  return requirementsOf(wva).flatMap(requirement => {
    const lacks = requirement.serves.flatMap(({ groupVersion, kinds }) => {
      const found = served.find(s => `${s.group}/${s.version}` === groupVersion)
      if (found === undefined && kinds.length === 0) return [groupVersion]
      const absent = kinds.filter(kind => !found?.kinds.includes(kind))
      return absent.length > 0 ? [`${absent.join(', ')} (${groupVersion})`] : []
    })
    const wanted = requirement.gatewayClass === undefined ? undefined : gatewayClass
    if (
      lacks.length === 0 &&
      wanted !== undefined &&
      gatewayClasses !== undefined &&
      !gatewayClasses.some(c => c.metadata.name === wanted)
    ) {
      lacks.push(`GatewayClass ${wanted}`)
    }
    return lacks.length > 0 ? [{ requirement, what: lacks.join('; ') }] : []
  })
}

/** All missing items in one failure, each with the command that installs it. */
export function platformFailure(lacking: readonly Missing[]): UserError {
  return new UserError('PLATFORM', `The cluster lacks ${lacking.map(m => m.requirement.name).join(', ')}.`, {
    why: lacking.map(m => `Not served: ${m.what}`).join('. '),
    next: 'Let a cluster administrator run the commands below once; this version of bench-action detects the platform and does not install it.',
    evidence: lacking.flatMap(m => m.requirement.install),
  })
}

/** OpenShift is told by its Route API. */
export const isOpenShift = (groups: readonly string[]): boolean => groups.includes('route.openshift.io')
