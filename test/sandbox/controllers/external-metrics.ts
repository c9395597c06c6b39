import { type KubeClient, KubeError } from '../client.ts'
import { quantity } from './objects.ts'

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}
export interface MetricIdentifier {
  name: string
  selector?: LabelSelector
}

/** A quantity in thousandths, rounded up. */
export const milli = (text: string | number): number =>
  // The rounding of the product: 0.29 * 1000 is not 290.
  Math.ceil(Number((quantity(text) * 1000).toFixed(6)))

/** Thousandths as the shortest quantity: `1500m`, `3`, `12k`. */
export function milliText(value: number): string {
  if (value % 1000 !== 0) return `${value}m`
  let n = value / 1000
  const units = ['', 'k', 'M', 'G', 'T', 'P', 'E']
  while (n !== 0 && n % 1000 === 0 && units.length > 1) {
    n /= 1000
    units.shift()
  }
  return `${n}${units[0]}`
}

const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1)

/** As a query string says it: `a=b,c in (d,e),!f`. */
export function selectorQuery({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const pairs = Object.entries(matchLabels).map(([k, v]): [string, string] => [k, `${k}=${v}`])
  const rest = matchExpressions.map(({ key, operator, values = [] }): [string, string] => {
    if (operator === 'Exists') return [key, key]
    if (operator === 'DoesNotExist') return [key, `!${key}`]
    return [key, `${key} ${operator.toLowerCase()} (${[...values].sort().join(',')})`]
  })
  return [...pairs, ...rest]
    .sort(byKey)
    .map(([, text]) => text)
    .join(',')
}

/** As Go prints it, which is how conditions and events show it. */
export function selectorText(selector: LabelSelector | undefined): string {
  if (!selector) return 'nil'
  const labels = Object.entries(selector.matchLabels ?? {}).sort(byKey)
  const expressions = (selector.matchExpressions ?? []).map(
    ({ key, operator, values = [] }) =>
      `LabelSelectorRequirement{Key:${key},Operator:${operator},Values:[${values.join(' ')}],},`,
  )
  return `&LabelSelector{MatchLabels:map[string]string{${labels.map(([k, v]) => `${k}: ${v},`).join('')}},MatchExpressions:[]LabelSelectorRequirement{${expressions.join('')}},}`
}

/** A refusal as the client library of the real controller words it. */
function worded(error: unknown, metric: string): string {
  if (!(error instanceof KubeError)) return (error as Error).message
  const about = `(get ${metric}.external.metrics.k8s.io)`
  const notServed = 'the server could not find the requested resource'
  if (error.detail !== undefined && error.detail !== notServed) return error.detail
  if (error.status === 404) return `${notServed} ${about}`
  if (error.status === 503) return `the server is currently unable to handle the request ${about}`
  return `an error on the server (${JSON.stringify(error.body)}) has prevented the request from succeeding ${about}`
}

/**
 * The sum of an external metric over all its items, in thousandths.
 * @throws Error worded as the real controller's; no item is an error, too
 */
export async function externalMetric(
  client: KubeClient,
  namespace: string,
  { name, selector }: MetricIdentifier,
): Promise<number> {
  const what = `unable to get external metric ${namespace}/${name}/${selectorText(selector)}`
  const path = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}/${encodeURIComponent(name)}`
  const query = selectorQuery(selector ?? {})
  let items: { value: string | number }[]
  try {
    const list = await client.list(path, query === '' ? {} : { labelSelector: query })
    items = (list.items ?? []) as unknown as { value: string | number }[]
  } catch (error) {
    throw new Error(`${what}: unable to fetch metrics from external metrics API: ${worded(error, name)}`)
  }
  if (items.length === 0) throw new Error(`${what}: no metrics returned from external metrics API`)
  return items.reduce((sum, item) => sum + milli(item.value), 0)
}
