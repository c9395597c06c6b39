import { type Static, Type } from '@sinclair/typebox'
import type { KubeObject } from '../kube.ts'
import { names } from '../names.ts'
import { object } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'
import { vllmPort } from './model-server.ts'

const closed = { additionalProperties: false }
const Direction = Type.Object(
  {
    stabilizationWindowSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 3600 })),
    selectPolicy: Type.Optional(Type.Union([Type.Literal('Max'), Type.Literal('Min'), Type.Literal('Disabled')])),
    policies: Type.Optional(
      Type.Array(
        Type.Object(
          {
            type: Type.Union([Type.Literal('Pods'), Type.Literal('Percent')]),
            value: Type.Integer({ minimum: 1, maximum: 100_000 }),
            periodSeconds: Type.Integer({ minimum: 1, maximum: 1800 }),
          },
          closed,
        ),
        { minItems: 1, maxItems: 20 },
      ),
    ),
  },
  closed,
)
/** `spec.behavior` of an autoscaling/v2 HorizontalPodAutoscaler, with the bounds of its API. */
export const HpaBehavior = Type.Object(
  { scaleUp: Type.Optional(Direction), scaleDown: Type.Optional(Direction) },
  closed,
)
export type HpaBehavior = Static<typeof HpaBehavior>

/** What the inventory keeps of the scalers, so that a run can make them again. */
export const Autoscaling = Type.Object({
  maxReplicas: Type.Integer({ minimum: 1, maximum: 1000 }),
  behavior: HpaBehavior,
  /** Value of the label without which WVA skips a variant; at least two characters. */
  acceleratorName: Type.String({ minLength: 2, maxLength: 63 }),
  /** Namespace of the WVA controller that was found. */
  controllerNamespace: Type.String({ minLength: 1, maxLength: 63 }),
  controllerName: Type.String({ minLength: 1, maxLength: 253 }),
  /** Version of that controller, from the tag of its image. */
  controllerVersion: Type.String({ minLength: 1, maxLength: 128 }),
})
export type Autoscaling = Static<typeof Autoscaling>

const chartWindow = () => ({
  stabilizationWindowSeconds: 240,
  selectPolicy: 'Max' as const,
  policies: [{ type: 'Pods' as const, value: 10, periodSeconds: 150 }],
})
/** What the chart of WVA 0.4.2 sets in both directions. */
export const chartBehavior: HpaBehavior = { scaleUp: chartWindow(), scaleDown: chartWindow() }

/** Replicas at which every repeat of a WVA leg starts. With a higher floor WVA 0.4.x freezes: desired 1 is never actuated. */
export const restingReplicas = 1

export const externalMetric = 'inferno_desired_replicas'

/** What the scalers of a stack are made from: a spec before standup, an inventory after it. */
export interface ScalerTarget {
  readonly namespace: string
  readonly stack: string
  readonly release: string
  readonly label: string
  readonly model: string
  readonly autoscaling: Pick<Autoscaling, 'maxReplicas' | 'behavior' | 'acceleratorName'>
}

/** WVA binds a variant to the Deployment of the same name. */
export const variantAutoscaling = (target: ScalerTarget): KubeObject =>
  object(
    target,
    'llmd.ai/v1alpha1',
    'VariantAutoscaling',
    names(target).decode,
    { spec: { modelID: target.model, variantCost: '10.0' } },
    { 'inference.optimization/acceleratorName': target.autoscaling.acceleratorName },
  )

/** Follows the number of replicas that WVA publishes. */
export const horizontalPodAutoscaler = (target: ScalerTarget): KubeObject => {
  const { decode } = names(target)
  const { maxReplicas, behavior } = target.autoscaling
  return object(target, 'autoscaling/v2', 'HorizontalPodAutoscaler', decode, {
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: decode },
      minReplicas: restingReplicas,
      maxReplicas,
      behavior,
      metrics: [
        {
          type: 'External',
          external: {
            metric: { name: externalMetric, selector: { matchLabels: { variant_name: decode } } },
            target: { type: 'AverageValue', averageValue: '1' },
          },
        },
      ],
    },
  })
}

/** What lets Prometheus scrape the model servers. The scalers come later, when the pods are ready. */
export const autoscaling: Component = {
  id: 'autoscaling',
  objects: (spec: StackSpec): KubeObject[] => {
    if (spec.autoscaling === undefined) return []
    const { vllm } = names(spec)
    const labels = { 'llm-d.ai/model': spec.label }
    const target = { ...spec, autoscaling: spec.autoscaling }
    return [
      object(
        spec,
        'v1',
        'Service',
        vllm,
        {
          spec: { selector: labels, ports: [{ name: 'vllm', port: vllmPort, targetPort: vllmPort, protocol: 'TCP' }] },
        },
        labels,
      ),
      object(
        spec,
        'monitoring.coreos.com/v1',
        'ServiceMonitor',
        vllm,
        {
          spec: {
            selector: { matchLabels: labels },
            namespaceSelector: { matchNames: [spec.namespace] },
            endpoints: [{ port: 'vllm', path: '/metrics', interval: '15s', scheme: 'http' }],
          },
        },
        { ...spec.autoscaling.serviceMonitorLabels, ...labels, 'openshift.io/user-monitoring': 'true' },
      ),
      variantAutoscaling(target),
      horizontalPodAutoscaler(target),
    ]
  },
}

/** The objects that must not be there before the pods are ready: an HPA that comes earlier acts on an old gauge. */
export const isScaler = ({ kind }: Pick<KubeObject, 'kind'>): boolean =>
  kind === 'VariantAutoscaling' || kind === 'HorizontalPodAutoscaler'
