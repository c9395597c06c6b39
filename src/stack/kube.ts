/** A Kubernetes object as plain data. Our own type, so that pure rooms need no client library. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: KubeMeta
  [field: string]: unknown
}
export interface KubeMeta {
  name: string
  namespace?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  finalizers?: string[]
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean }[]
  managedFields?: unknown[]
  [field: string]: unknown
}

export const fieldManager = 'llm-d-bench-action'
/** The one ownership label: set in the create call and in pod templates; no delete without it. */
export const stackLabel = 'llm-d.ai/bench-stack'
export const inventoryName = 'llm-d-bench-inventory'
/** Node label that marks a simulated cluster; results from one say so everywhere. */
export const simulatedLabel = 'llm-d.ai/bench-simulated'
/** Annotation with a hash of a Job's spec: a Job cannot be changed in place, so a different hash means delete and create. */
export const specHashAnnotation = 'llm-d.ai/bench-spec-hash'
