import type { KubeObject } from '../stack/kube.ts'
import { type MetricAnswer, metricValue } from '../stack/wva-readiness.ts'
import type { Api } from './api.ts'
import { ApiError, isForbidden, isNotFound } from './api-error.ts'
import { get } from './objects.ts'
import { objectPath } from './resources.ts'

const pageLimit = 4 * 1024 * 1024
/** A pod or an adapter that has not answered by then is taken for silent: whoever asks asks again. */
const answerTimeoutMs = 10_000

/**
 * The metrics page of one pod, through the API server (right `get pods/proxy`); undefined when the pod does not answer.
 * @throws ApiError 403
 */
export async function metricsPage(
  api: Api,
  pod: { readonly namespace: string; readonly name: string },
  port: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)])
  try {
    const path = `${objectPath('Pod', pod.namespace, `${pod.name}:${port}`)}/proxy/metrics`
    const decoder = new TextDecoder()
    let text = ''
    for await (const chunk of await api.stream(path, { accept: 'text/plain', signal: limit })) {
      text += decoder.decode(chunk, { stream: true })
      // What a pod answers is not trusted to end.
      if (text.length > pageLimit) return undefined
    }
    return text
  } catch (error) {
    signal.throwIfAborted()
    if (isForbidden(error)) throw error
    return undefined
  }
}

/**
 * What the external metrics API serves for a variant: the very request that an HPA makes. No answer in time is an
 * answer with status 0.
 * @param options.once a failing answer is not asked for again here
 */
export async function externalMetric(
  api: Api,
  namespace: string,
  metric: string,
  labels: Readonly<Record<string, string>>,
  options: { readonly signal: AbortSignal; readonly once?: boolean; readonly timeoutMs?: number },
): Promise<MetricAnswer> {
  const { signal, timeoutMs = answerTimeoutMs } = options
  const limit = AbortSignal.timeout(timeoutMs)
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
  try {
    const answer = await api.request<{ items?: { value?: unknown }[] }>(
      'GET',
      `/apis/external.metrics.k8s.io/v1beta1/namespaces/${encodeURIComponent(namespace)}/${encodeURIComponent(metric)}`,
      { query: { labelSelector }, ...(options.once ? { once: true } : {}), signal: AbortSignal.any([signal, limit]) },
    )
    const items = Array.isArray(answer.items) ? answer.items : []
    return { status: 200, message: '', values: items.map(i => metricValue(i?.value)).filter(Number.isFinite) }
  } catch (error) {
    signal.throwIfAborted()
    if (limit.aborted) return { status: 0, message: `no answer in ${timeoutMs / 1000} s`, values: [] }
    if (error instanceof ApiError) return { status: error.status, message: error.message, values: [] }
    throw error
  }
}

/**
 * Sets the number of replicas through the scale subresource, which is where an autoscaler sets it: an apply of the
 * Deployment that names no number leaves it alone.
 */
export const setReplicas = (
  api: Api,
  namespace: string,
  deployment: string,
  replicas: number,
  signal: AbortSignal,
): Promise<KubeObject> =>
  api.request<KubeObject>('PATCH', `${objectPath('Deployment', namespace, deployment)}/scale`, {
    query: { fieldManager: 'llm-d-bench-action' },
    contentType: 'application/merge-patch+json',
    body: { spec: { replicas } },
    signal,
  })

/** Units of a Go duration, ms. https://pkg.go.dev/time#ParseDuration */
const goUnits: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** A Go duration such as `60s` or `1m30s` as ms; undefined when it is none or 0. */
export function goDuration(text: string | undefined): number | undefined {
  const parts = [...(text ?? '').matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)]
  if (parts.length === 0 || parts.map(p => p[0]).join('') !== text) return undefined
  const ms = parts.reduce((sum, [, n, unit]) => sum + Number(n) * (goUnits[unit ?? ''] ?? 0), 0)
  return ms > 0 ? ms : undefined
}

/** The chart's default, and what counts when the controller's settings may not be read. */
const defaultReconcileMs = 60_000

/** How often the controller decides, from its ConfigMap, which it reads again in every loop. */
export async function reconcileInterval(api: Api, controllerNamespace: string, signal: AbortSignal): Promise<number> {
  try {
    const name = 'workload-variant-autoscaler-variantautoscaling-config'
    const live = await get(api, 'ConfigMap', controllerNamespace, name, signal)
    return goDuration((live?.data as Record<string, string> | undefined)?.GLOBAL_OPT_INTERVAL) ?? defaultReconcileMs
  } catch (error) {
    signal.throwIfAborted()
    if (isForbidden(error) || isNotFound(error)) return defaultReconcileMs
    throw error
  }
}
