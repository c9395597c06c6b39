import type { KubeObject } from '../../../src/stack/kube.ts'

/** Whether the labels of a pod are what a selector's `matchLabels` asks for. An empty selector takes nothing. */
export function selects(matchLabels: Readonly<Record<string, string>> | undefined, pod: KubeObject): boolean {
  const wanted = Object.entries(matchLabels ?? {})
  return wanted.length > 0 && wanted.every(([name, value]) => pod.metadata.labels?.[name] === value)
}

/** The address of a pod that takes traffic: Ready and not going away; undefined for any other. */
export function readyAddress(pod: KubeObject): string | undefined {
  const status = pod.status as { podIP?: string; conditions?: { type: string; status: string }[] } | undefined
  if (pod.metadata.deletionTimestamp !== undefined) return undefined
  return status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') ? status.podIP : undefined
}

/** `matchLabels` of an InferencePool and the port its replicas serve on. */
export function poolTarget(pool: KubeObject): { matchLabels: Record<string, string>; port: number } {
  const spec = pool.spec as { selector?: { matchLabels?: Record<string, string> }; targetPorts?: { number: number }[] }
  return { matchLabels: spec.selector?.matchLabels ?? {}, port: spec.targetPorts?.[0]?.number ?? 8000 }
}
