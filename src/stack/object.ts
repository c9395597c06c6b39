import { type KubeObject, stackLabel } from './kube.ts'
import type { PodPlacement, StackSpec } from './spec.ts'

/** An object of the stack: in the model namespace, with the ownership label, with nothing that changes from run to run. */
export function object(
  spec: Pick<StackSpec, 'namespace' | 'stack'>,
  apiVersion: string,
  kind: string,
  name: string,
  body: Record<string, unknown>,
  labels: Record<string, string> = {},
): KubeObject {
  return {
    apiVersion,
    kind,
    metadata: { name, namespace: spec.namespace, labels: { ...labels, [stackLabel]: spec.stack } },
    ...body,
  }
}

/** Labels of a pod template: the ownership label, Kueue's queue when one is given, and the component's own. */
export function podLabels(spec: StackSpec, own: Record<string, string>): Record<string, string> {
  const queue = spec.placement.queueName
  return { ...own, [stackLabel]: spec.stack, ...(queue === undefined ? {} : { 'kueue.x-k8s.io/queue-name': queue }) }
}

/** What the user asks for on every pod. */
export function placed(placement: PodPlacement): Record<string, unknown> {
  return {
    ...(placement.tolerations.length > 0 ? { tolerations: placement.tolerations.map(t => ({ ...t })) } : {}),
    ...(Object.keys(placement.nodeSelector).length > 0 ? { nodeSelector: { ...placement.nodeSelector } } : {}),
    ...(placement.priorityClass === undefined ? {} : { priorityClassName: placement.priorityClass }),
    ...(placement.imagePullSecret === undefined ? {} : { imagePullSecrets: [{ name: placement.imagePullSecret }] }),
  }
}

/** Keeps helper pods off the GPU nodes when their label is known, unless the cluster has no other nodes. */
export function awayFromGpus(spec: Pick<StackSpec, 'accelerator' | 'gpuNodesOnly'>): Record<string, unknown> {
  if (spec.accelerator === undefined || spec.gpuNodesOnly) return {}
  const term = { matchExpressions: [{ key: spec.accelerator.key, operator: 'DoesNotExist' }] }
  return {
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } },
  }
}

/**
 * Pod security of helper pods, accepted by the `restricted` Pod Security Standard and by OpenShift's `restricted-v2`,
 * which picks the user id itself. 65532 is the "nonroot" user of distroless images.
 */
export function restrictedPod(spec: Pick<StackSpec, 'openShift'>): Record<string, unknown> {
  const user = spec.openShift
    ? {}
    : // Without the policy every start would change the owner of each file of a large volume again.
      { runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, fsGroupChangePolicy: 'OnRootMismatch' }
  return { runAsNonRoot: true, ...user, seccompProfile: { type: 'RuntimeDefault' } }
}
export const restrictedContainer = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } as const

/** Environment as a map, because two entries of one name are refused by server-side apply. */
export type Env = Record<
  string,
  string | { readonly secret: string; readonly key: string; readonly optional?: boolean } | { readonly field: string }
>

export function envList(env: Env): Record<string, unknown>[] {
  return Object.entries(env).map(([name, value]) => {
    if (typeof value === 'string') return { name, value }
    if ('field' in value) return { name, valueFrom: { fieldRef: { fieldPath: value.field } } }
    return {
      name,
      valueFrom: {
        secretKeyRef: { name: value.secret, key: value.key, ...(value.optional ? { optional: true } : {}) },
      },
    }
  })
}
