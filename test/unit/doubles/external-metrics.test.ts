import { describe, expect, test } from '@jest/globals'
import { parseExposition } from '../../sandbox/wva/exposition.ts'
import { matchersOf, metricQuery, metricsOf, readRules, valueList } from '../../sandbox/wva/external-metrics.ts'
import { Gauges } from '../../sandbox/wva/gauges.ts'

describe('the gauges and the external metric made of them', () => {
  const config = `externalRules:
  - seriesQuery: 'inferno_desired_replicas{variant_name!=""}'
    resources: {overrides: {exported_namespace: {resource: namespace}}}
    name: {matches: "^inferno_(.*)$", as: "wva_$1"}
    metricsQuery: 'max by (exported_namespace, variant_name) (<<.Series>>{<<.LabelMatchers>>})'
`
  test('a gauge keeps its last value; the ratio is the desired count where there is no replica', () => {
    const gauges = new Gauges()
    expect(gauges.render()).toBe('')
    const of = { variant: 'v', namespace: 'ns', accelerator: 'H100' }
    gauges.emit(of, 0, 3)
    gauges.emit({ ...of, variant: 'w' }, 4, 2)
    gauges.emit(of, 0, 2)
    const values = parseExposition(gauges.render()).map(l => [l.name, l.labels.variant_name, l.value])
    expect(values).toEqual([
      ['inferno_current_replicas', 'v', 0],
      ['inferno_current_replicas', 'w', 4],
      ['inferno_desired_ratio', 'v', 2],
      ['inferno_desired_ratio', 'w', 0.5],
      ['inferno_desired_replicas', 'v', 2],
      ['inferno_desired_replicas', 'w', 2],
    ])
  })

  test('the query of a metric carries the namespace under the label that the rule names, and the selector', () => {
    const [rule] = readRules(config)
    const metrics = metricsOf(rule!, [{ __name__: 'inferno_desired_replicas' }, { __name__: 'other' }])
    expect([...metrics.keys()]).toEqual(['wva_desired_replicas'])
    expect(metricQuery(metrics.get('wva_desired_replicas')!, 'ns', 'variant_name=v')).toBe(
      'max by (exported_namespace, variant_name) (inferno_desired_replicas{exported_namespace="ns",variant_name="v"})',
    )
  })

  test('label selectors are told in the words of PromQL', () => {
    expect(matchersOf('a=b,c!=d,e in (f, g),h notin (i),j,!k')).toEqual([
      ...['a="b"', 'c!="d"', 'e=~"f|g"', 'h!~"i"', 'j!=""', 'k=""'],
    ])
    expect(() => matchersOf('a=b=c')).toThrow('unable to parse requirement')
  })

  test('values are quantities, one item per series, none for an empty vector', () => {
    const list = valueList('m', [{ labels: { __name__: 'm', a: 'b' }, value: 1.5 }], '2026-01-01T00:00:00Z')
    expect(list).toEqual({
      ...{ kind: 'ExternalMetricValueList', apiVersion: 'external.metrics.k8s.io/v1beta1', metadata: {} },
      items: [{ metricName: 'm', metricLabels: { a: 'b' }, timestamp: '2026-01-01T00:00:00Z', value: '1500m' }],
    })
    expect(valueList('m', [], 'now').items).toEqual([])
  })

  test('a rule without its query is refused', () => {
    expect(() => readRules('externalRules: [{seriesQuery: x}]')).toThrow('incomplete rule')
    expect(readRules('rules: []')).toEqual([])
  })
})
