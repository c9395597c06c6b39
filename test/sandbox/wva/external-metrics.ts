import { parse } from 'yaml'
import type { Point } from './evaluate.ts'
import type { Labels } from './exposition.ts'

export const externalGroup = 'external.metrics.k8s.io/v1beta1'

/** One entry of `externalRules`. */
export interface Rule {
  readonly seriesQuery: string
  readonly resources?: { readonly overrides?: Readonly<Record<string, { readonly resource: string }>> }
  readonly name?: { readonly matches?: string; readonly as?: string }
  readonly metricsQuery: string
}
/** A metric that can be asked for, and how Prometheus is asked for it. */
export interface Metric {
  readonly series: string
  readonly rule: Rule
}

/** @throws when the text is no configuration, or a rule lacks one of its queries */
export function readRules(text: string): Rule[] {
  const rules = (parse(text) as { externalRules?: Rule[] } | null)?.externalRules ?? []
  for (const rule of rules) {
    if (!rule.seriesQuery || !rule.metricsQuery) throw new Error(`incomplete rule: ${JSON.stringify(rule)}`)
  }
  return rules
}

/** The metrics that a rule makes of the series that are there. */
export function metricsOf(rule: Rule, series: readonly Labels[]): Map<string, Metric> {
  const found = new Map<string, Metric>()
  for (const name of new Set(series.map(labels => labels.__name__ ?? ''))) {
    const pattern = new RegExp(rule.name?.matches ?? '.*')
    if (!pattern.test(name)) continue
    const as = rule.name?.as
    found.set(as ? name.replace(pattern, as) : name, { series: name, rule })
  }
  return found
}

/** The PromQL for a metric in a namespace, with the label selector of the request as matchers. */
export function metricQuery({ series, rule }: Metric, namespace: string, labelSelector: string): string {
  const scoped = Object.entries(rule.resources?.overrides ?? {}).find(([, to]) => to.resource === 'namespace')
  const own = scoped ? [`${scoped[0]}=${JSON.stringify(namespace)}`] : []
  const matchers = [...own, ...matchersOf(labelSelector)].join(',')
  return rule.metricsQuery
    .replaceAll(/<<\s*\.Series\s*>>/g, () => series)
    .replaceAll(/<<\s*\.LabelMatchers\s*>>/g, () => matchers)
    .replaceAll(/<<\s*\.GroupBy\s*>>/g, () => scoped?.[0] ?? '')
}

/** A Kubernetes label selector in PromQL's words. @throws for what is none */
export function matchersOf(selector: string): string[] {
  const parts = selector.split(/,(?![^(]*\))/).filter(part => part.trim() !== '')
  return parts.map(part => {
    const text = part.trim()
    const set = /^([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(text)
    if (set) {
      const values = set[3]!.split(',').map(value => value.trim())
      return `${set[1]}${set[2] === 'in' ? '=~' : '!~'}${JSON.stringify(values.join('|'))}`
    }
    const pair = /^([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)$/.exec(text)
    if (pair) return `${pair[1]}${pair[2] === '!=' ? '!=' : '='}${JSON.stringify(pair[3])}`
    const bare = /^(!?)\s*([\w./-]+)$/.exec(text)
    if (!bare) throw new Error(`unable to parse requirement: ${text}`)
    return `${bare[2]}${bare[1] ? '=' : '!='}""`
  })
}

/** The APIResourceList of the metrics that are known. */
export const resourceList = (names: readonly string[]) => ({
  ...{ kind: 'APIResourceList', apiVersion: 'v1', groupVersion: externalGroup },
  resources: names.map(name => ({
    ...{ name, singularName: '', namespaced: true, kind: 'ExternalMetricValueList', verbs: ['get'] },
  })),
})

/** The ExternalMetricValueList of a vector; one item for each of its series. */
export const valueList = (metricName: string, points: readonly Point[], timestamp: string) => ({
  ...{ kind: 'ExternalMetricValueList', apiVersion: externalGroup, metadata: {} },
  items: points.map(({ labels: { __name__: _, ...metricLabels }, value }) => ({
    ...{ metricName, metricLabels, timestamp, value: quantity(value) },
  })),
})

const quantity = (value: number): string => (Number.isInteger(value) ? String(value) : `${Math.trunc(value * 1000)}m`)

/** A Status for an answer that is not a success. */
export const failure = (code: number, reason: string, message: string) => ({
  ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code },
})
