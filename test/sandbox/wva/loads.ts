import type { ReplicaLoad } from './decision.ts'
import { labelsText } from './exposition.ts'
import type { PrometheusClient } from './prometheus-client.ts'
import type { CurrentAlloc } from './variants.ts'

/** A Deployment and the names of the pods that its selector takes now. */
export interface Owner {
  readonly name: string
  readonly pods: ReadonlySet<string>
}

/** The peaks of every pod of a model over the window, as the real controller asks for them. */
export async function replicaLoads(
  prometheus: PrometheusClient,
  where: { model: string; namespace: string; window: string },
  owners: readonly Owner[],
): Promise<ReplicaLoad[]> {
  const labels = labelsText({ namespace: where.namespace, model_name: where.model })
  const peaks = (metric: string) =>
    prometheus.vector(`max by (pod) (max_over_time(${metric}{${labels}}[${where.window}]))`)
  const [kv, queue] = await Promise.all([peaks('vllm:kv_cache_usage_perc'), peaks('vllm:num_requests_waiting')])
  const found = new Map<string, { kv: number; queue: number }>()
  for (const { labels: of, value } of kv) found.set(of.pod ?? '', { kv: value, queue: 0 })
  for (const { labels: of, value } of queue) {
    const pod = of.pod ?? ''
    found.set(pod, { kv: found.get(pod)?.kv ?? 0, queue: Math.trunc(value) })
  }
  return [...found].flatMap(([pod, load]) => {
    const variant = ownerOf(pod, owners)
    return variant === undefined ? [] : [{ pod, variant, ...load }]
  })
}

/**
 * Which Deployment a pod belongs to. One that is gone can only be told by its name, and so it still counts as a replica
 * for as long as the window remembers it.
 */
export function ownerOf(pod: string, owners: readonly Owner[]): string | undefined {
  const byPod = owners.find(owner => owner.pods.has(pod))
  if (byPod) return byPod.name
  const byName = owners.filter(owner => pod.startsWith(`${owner.name}-`))
  return byName.sort((a, b) => b.name.length - a.name.length)[0]?.name
}

/** Whether vLLM's metrics of a model arrive at all; also without the namespace, for exporters that do not carry it. */
export async function hasMetrics(prometheus: PrometheusClient, model: string, namespace: string): Promise<boolean> {
  const metric = 'vllm:num_requests_running'
  const scoped = await prometheus.vector(`${metric}{${labelsText({ model_name: model, namespace })}}`)
  return scoped.length > 0 || (await prometheus.vector(`${metric}{${labelsText({ model_name: model })}}`)).length > 0
}

/** What the status shows besides the decision: completions per minute, mean tokens, mean latencies in milliseconds. */
export async function measuredLoad(
  prometheus: PrometheusClient,
  where: { model: string; namespace: string; window: string },
): Promise<Pick<CurrentAlloc, 'itlAverage' | 'ttftAverage' | 'load'>> {
  const labels = labelsText({ model_name: where.model, namespace: where.namespace })
  const rate = (metric: string) => `sum(rate(vllm:${metric}{${labels}}[${where.window}]))`
  const number = async (query: string, factor: number) => {
    const value = (await prometheus.vector(query))[0]?.value
    return (value === undefined || !Number.isFinite(value) ? 0 : value * factor).toFixed(2)
  }
  const mean = (metric: string, factor = 1) => number(`${rate(`${metric}_sum`)} / ${rate(`${metric}_count`)}`, factor)
  const [arrivalRate, avgInputTokens, avgOutputTokens, ttftAverage, itlAverage] = await Promise.all([
    number(rate('request_success_total'), 60),
    mean('request_prompt_tokens'),
    mean('request_generation_tokens'),
    mean('time_to_first_token_seconds', 1000),
    mean('time_per_output_token_seconds', 1000),
  ])
  return { itlAverage, ttftAverage, load: { arrivalRate, avgInputTokens, avgOutputTokens } }
}
