import { describe, expect, test } from '@jest/globals'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { Engine, parametersFrom } from '../../sandbox/doubles/engine.ts'
import { VllmMetrics } from '../../sandbox/doubles/vllm-metrics.ts'
import { durationMs } from '../../sandbox/wva/durations.ts'
import { evaluate } from '../../sandbox/wva/evaluate.ts'
import { type Labels, numberText, parseExposition } from '../../sandbox/wva/exposition.ts'
import { matchersOf, metricQuery, metricsOf, readRules, valueList } from '../../sandbox/wva/external-metrics.ts'
import { Gauges } from '../../sandbox/wva/gauges.ts'
import { parseQuery } from '../../sandbox/wva/promql.ts'
import { answerQuery } from '../../sandbox/wva/query-api.ts'
import { SampleStore, TargetSeries, withTarget } from '../../sandbox/wva/samples.ts'
import { targetsOf } from '../../sandbox/wva/targets.ts'

const second = 1000
const t0 = 1_700_000_000_000

describe('durations and the text format', () => {
  test('durations are read as Go and Prometheus write them', () => {
    expect(['60s', '1m', '1m30s', '1.5h', '200ms', '1m0s', '0'].map(durationMs)).toEqual([
      60_000, 60_000, 90_000, 5_400_000, 200, 60_000, 0,
    ])
    expect(() => durationMs('60')).toThrow('invalid duration')
  })

  test('a metrics page becomes samples: colons in names, escapes in labels, special values, comments left out', () => {
    const page = `# HELP x y
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="a/b\\"c\\n,{d}"} 0.25
up 1
x{le="+Inf",} NaN 1700000000000
y{} -Inf
`
    expect(parseExposition(page)).toEqual([
      { name: 'vllm:kv_cache_usage_perc', labels: { engine: '0', model_name: 'a/b"c\n,{d}' }, value: 0.25 },
      { name: 'up', labels: {}, value: 1 },
      { name: 'x', labels: { le: '+Inf' }, value: Number.NaN },
      { name: 'y', labels: {}, value: Number.NEGATIVE_INFINITY },
    ])
    expect(numberText(Number.NEGATIVE_INFINITY)).toBe('-Inf')
  })

  test('the page of the vLLM double is one', () => {
    const engine = new Engine(parametersFrom({}, undefined), () => undefined)
    const page = new VllmMetrics().render(engine, 'org/m', { kvTokens: 1000, blockSize: 16 })
    const lines = parseExposition(page)
    expect(lines.find(l => l.name === 'vllm:kv_cache_usage_perc')).toEqual({
      ...{ name: 'vllm:kv_cache_usage_perc', labels: { engine: '0', model_name: 'org/m' }, value: 0 },
    })
    expect(lines.some(l => l.name === 'vllm:time_to_first_token_seconds_bucket' && l.labels.le === '+Inf')).toBe(true)
  })

  test('a page with a line that is no sample is refused whole', () => {
    expect(() => parseExposition('x 1\n<html>\n')).toThrow('not a sample: <html>')
    expect(() => parseExposition('x{a=b} 1')).toThrow('not a label set')
    expect(() => parseExposition('x one')).toThrow('not a number')
  })
})

describe('queries', () => {
  test.each([
    'x',
    'x{a="b",c!=""}',
    'x{a=~"b|c",d!~".+",}',
    '{__name__="x",a="b"}',
    'max by (pod) (max_over_time(vllm:kv_cache_usage_perc{namespace="ns",model_name="a/b"}[1m]))',
    'max(x) by (a, b)',
    'sum(rate(a_sum[1m])) / sum(rate(a_count[1m]))',
    '(sum(x))',
  ])('%s is understood', query => {
    expect(() => parseQuery(query)).not.toThrow()
  })

  test.each([
    ['', 'end of input'],
    ['x{a="b"', 'end of input'],
    ['x{a}', 'unexpected "}"'],
    ['x + y', 'unexpected "+ y"'],
    ['x[1m]', 'range vector'],
    ['max_over_time(x)', 'expected type range vector'],
    ['x y', 'unexpected "y"'],
    ['max_over_time(x[1 minute])', 'invalid duration'],
    ['x{a=~"("}', 'Invalid regular expression'],
  ])('%s is refused', (query, why) => {
    expect(() => parseQuery(query)).toThrow(why)
  })

  const store = new SampleStore(600 * second)
  const put = (name: string, labels: Labels, ...values: number[]) => {
    for (const [i, value] of values.entries()) store.append(name, labels, t0 + i * 10 * second, value)
  }
  put('load', { pod: 'a', zone: '1' }, 5, 9, 1)
  put('load', { pod: 'b', zone: '1' }, 2, 2, 2)
  put('load', { pod: 'c' }, 4, 4, 4)
  put('total', { pod: 'a' }, 10, 30, 5)
  put('count', { pod: 'a' }, 0, 5, 10)
  const ask = (query: string, at = t0 + 20 * second) =>
    evaluate(parseQuery(query), store, at).map(({ labels, value }) => [
      Object.entries(labels)
        .filter(([name]) => name !== '__name__')
        .map(([, v]) => v)
        .join(','),
      value,
    ])

  test('a selector gives the last value of every series that its matchers take', () => {
    expect(ask('load')).toEqual([
      ['a,1', 1],
      ['b,1', 2],
      ['c', 4],
    ])
    expect(ask('load{zone!=""}')).toEqual([
      ['a,1', 1],
      ['b,1', 2],
    ])
    expect(ask('load{zone=""}')).toEqual([['c', 4]])
    expect(ask('load{pod=~"a|c"}')).toEqual([
      ['a,1', 1],
      ['c', 4],
    ])
    expect(ask('load{pod!~"a|c"}')).toEqual([['b,1', 2]])
    expect(ask('load', t0 + 10 * second)[0]).toEqual(['a,1', 9])
    expect(ask('unknown')).toEqual([])
  })

  test('a range function looks back over its window, whose far edge is not in it', () => {
    expect(ask('max_over_time(load{pod="a"}[15s])')).toEqual([['a,1', 9]])
    expect(ask('max_over_time(load{pod="a"}[10s])')).toEqual([['a,1', 1]])
    expect(ask('min_over_time(load{pod="a"}[1m])')).toEqual([['a,1', 1]])
    expect(ask('avg_over_time(load{pod="a"}[1m])')).toEqual([['a,1', 5]])
  })

  test('aggregations keep the labels that they are told to keep', () => {
    expect(ask('max by (zone) (load)')).toEqual([
      ['1', 2],
      ['', 4],
    ])
    expect(ask('sum(load)')).toEqual([['', 7]])
    expect(ask('count by (zone) (load)')).toEqual([
      ['1', 2],
      ['', 1],
    ])
    expect(ask('avg(load)')).toEqual([['', 7 / 3]])
    expect(ask('sum(unknown)')).toEqual([])
  })

  test('a rate adds up increases, also over a reset, and divides by the seconds between first and last sample', () => {
    expect(ask('sum(rate(total[1m]))')).toEqual([['', 25 / 20]])
    expect(ask('rate(total[5s])')).toEqual([])
    expect(ask('sum(rate(total[1m])) / sum(rate(count[1m]))')).toEqual([['', 2.5]])
  })

  test('the HTTP answers have the form of Prometheus', () => {
    const get = (path: string, parameters: Record<string, string>) =>
      answerQuery(path, new URLSearchParams(parameters), store, t0 + 20 * second)
    expect(get('/api/v1/query', { query: 'load{pod="c"}' })).toEqual({
      status: 200,
      body: {
        status: 'success',
        data: {
          resultType: 'vector',
          result: [{ metric: { __name__: 'load', pod: 'c' }, value: [t0 / second + 20, '4'] }],
        },
      },
    })
    expect(get('/api/v1/query', { query: 'load{pod="a"}', time: String(t0 / second) })?.body).toMatchObject({
      data: { result: [{ value: [t0 / second, '5'] }] },
    })
    expect(get('/api/v1/query', { query: 'load{' })).toMatchObject({
      status: 400,
      body: { status: 'error', errorType: 'bad_data' },
    })
    expect(get('/api/v1/series', { 'match[]': 'load{pod="c"}' })?.body).toMatchObject({
      data: [{ __name__: 'load', pod: 'c' }],
    })
    expect(get('/api/v1/labels', {})).toBeUndefined()
  })
})

describe('series that end', () => {
  const target = { namespace: 'ns', pod: 'p-1', instance: '127.0.0.2:8200' }
  const lines = (value: number) => parseExposition(`kv{model="m"} ${value}\nqueue{model="m"} 3\n`)
  const start = () => {
    const store = new SampleStore(120 * second)
    const series = new TargetSeries(store, target)
    series.scraped(lines(0.9), t0)
    series.scraped(lines(0.5), t0 + 10 * second)
    const ask = (query: string, seconds: number) =>
      evaluate(parseQuery(query), store, t0 + seconds * second).map(p => p.value)
    return { store, series, ask }
  }

  test('a target that is gone is forgotten by instant queries at once, and is a ghost of range functions for one window', () => {
    const { series, ask } = start()
    series.gone(t0 + 12 * second)
    expect(ask('kv', 11)).toEqual([0.5])
    expect(ask('kv', 12)).toEqual([])
    expect(ask('up', 12)).toEqual([])
    expect(ask('max by (pod) (max_over_time(kv[1m]))', 12)).toEqual([0.9])
    expect(ask('max_over_time(kv[1m])', 65)).toEqual([0.5])
    expect(ask('max_over_time(kv[1m])', 70)).toEqual([])
  })

  test('a failed scrape ends the series and shows in up; the next one goes on', () => {
    const { series, ask } = start()
    series.scraped(undefined, t0 + 20 * second)
    expect([ask('kv', 20), ask('up', 20)]).toEqual([[], [0]])
    series.scraped(lines(0.1), t0 + 30 * second)
    expect([ask('kv', 30), ask('up', 30)]).toEqual([[0.1], [1]])
  })

  test('a series that the page does not have any more ends, the others go on', () => {
    const { series, ask } = start()
    series.scraped(parseExposition('kv{model="m"} 0.2\n'), t0 + 20 * second)
    expect([ask('queue', 20), ask('kv', 20)]).toEqual([[], [0.2]])
  })

  test('without a stale marker a value is remembered for five minutes', () => {
    const store = new SampleStore(3600 * second)
    store.append('x', {}, t0, 1)
    const count = (seconds: number) => evaluate(parseQuery('x'), store, t0 + seconds * second).length
    expect([count(299), count(300)]).toEqual([1, 0])
  })

  test('what is older than the retention time is dropped, with the series that it was the last of', () => {
    const { store, series, ask } = start()
    store.prune(t0 + 125 * second)
    expect(ask('max_over_time(kv[10m])', 125)).toEqual([0.5])
    series.gone(t0 + 126 * second)
    store.prune(t0 + 300 * second)
    expect(store.family('kv')).toEqual([])
  })

  test('labels of the metric that clash with those of its target become exported_*', () => {
    const line = { name: 'x', labels: { namespace: 'model-ns', variant_name: 'v' }, value: 1 }
    expect(withTarget(line, { namespace: 'wva', pod: 'c' })).toEqual({
      ...{ exported_namespace: 'model-ns', variant_name: 'v', namespace: 'wva', pod: 'c' },
    })
  })
})

describe('targets', () => {
  const ready = (name: string, podIP: string, more: Record<string, unknown> = {}, status = 'True'): KubeObject => ({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'ns', uid: name, labels: { app: 'm' }, ...more } },
    spec: { containers: [{ ports: [{ name: 'http', containerPort: 8200 }] }] },
    status: { podIP, conditions: [{ type: 'Ready', status }] },
  })
  const service = (namespace: string, labels: Record<string, string>): KubeObject => ({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'vllm', namespace, labels } },
    spec: { selector: { app: 'm' }, ports: [{ name: 'vllm', port: 80, targetPort: 'http' }] },
  })
  const monitor = (spec: Record<string, unknown>, labels: Record<string, string> = {}): KubeObject => ({
    ...{ apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor' },
    metadata: { name: 'sm', namespace: 'ns', labels },
    spec: { selector: { matchLabels: { model: 'm' } }, endpoints: [{ port: 'vllm', interval: '15s' }], ...spec },
  })
  const urls = (one: KubeObject, pods: KubeObject[], services = [service('ns', { model: 'm' })], chosen = {}) => {
    const map = (all: KubeObject[]) => new Map(all.map(o => [`${o.metadata.namespace}/${o.metadata.name}`, o]))
    return [...targetsOf({ monitors: map([one]), services: map(services), pods: map(pods) }, chosen).values()]
  }

  test('a Ready pod behind a Service of the chosen labels is one, under the port that its container names', () => {
    expect(urls(monitor({}), [ready('a', '127.0.0.2')])).toMatchObject([
      {
        ...{ url: 'http://127.0.0.2:8200/metrics', intervalMs: 15_000 },
        labels: {
          ...{ namespace: 'ns', pod: 'a', service: 'vllm', job: 'vllm', endpoint: 'vllm' },
          instance: '127.0.0.2:8200',
        },
      },
    ])
  })

  test('pods that are not Ready, that end, or that the Service does not select are none', () => {
    const ending = ready('b', '127.0.0.3', { deletionTimestamp: '2026-01-01T00:00:00Z' })
    const other = ready('c', '127.0.0.4', { labels: { app: 'x' } })
    expect(urls(monitor({}), [ready('a', '127.0.0.2', {}, 'False'), ending, other])).toEqual([])
  })

  test('Services of other labels, other port names and other namespaces are left alone', () => {
    const pods = [ready('a', '127.0.0.2')]
    expect(urls(monitor({}), pods, [service('ns', { model: 'x' })])).toEqual([])
    expect(urls(monitor({ endpoints: [{ port: 'web' }] }), pods)).toEqual([])
    expect(urls(monitor({ namespaceSelector: { matchNames: ['elsewhere'] } }), pods)).toEqual([])
    expect(urls(monitor({ namespaceSelector: { matchNames: ['ns'] } }), pods)).toHaveLength(1)
    const away = { ...monitor({ namespaceSelector: { any: true } }) }
    away.metadata = { ...away.metadata, namespace: 'monitoring' }
    expect(urls(away, pods)).toHaveLength(1)
    expect(urls({ ...away, spec: monitor({}).spec }, pods)).toEqual([])
  })

  test('a ServiceMonitor without the labels that this Prometheus wants is not heard', () => {
    const chosen = { release: 'stack' }
    const services = [service('ns', { model: 'm' })]
    const pods = [ready('a', '127.0.0.2')]
    expect(urls(monitor({}), pods, services, chosen)).toEqual([])
    expect(urls(monitor({}, { release: 'stack' }), pods, services, chosen)).toHaveLength(1)
  })

  test('scheme, path and selector expressions are followed', () => {
    const spec = {
      selector: { matchExpressions: [{ key: 'model', operator: 'In', values: ['m'] }] },
      endpoints: [{ port: 'vllm', scheme: 'https', path: '/m' }],
    }
    expect(urls(monitor(spec), [ready('a', '127.0.0.2')])).toMatchObject([{ url: 'https://127.0.0.2:8200/m' }])
    const not = { selector: { matchExpressions: [{ key: 'model', operator: 'DoesNotExist' }] } }
    expect(urls(monitor(not), [ready('a', '127.0.0.2')])).toEqual([])
  })
})

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
