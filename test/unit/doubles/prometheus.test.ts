import { describe, expect, test } from '@jest/globals'
import { Engine, parametersFrom } from '../../sandbox/doubles/engine.ts'
import { VllmMetrics } from '../../sandbox/doubles/vllm-metrics.ts'
import { durationMs } from '../../sandbox/wva/durations.ts'
import { evaluate } from '../../sandbox/wva/evaluate.ts'
import { type Labels, numberText, parseExposition } from '../../sandbox/wva/exposition.ts'
import { parseQuery } from '../../sandbox/wva/promql.ts'
import { answerQuery } from '../../sandbox/wva/query-api.ts'
import { SampleStore, TargetSeries, withTarget } from '../../sandbox/wva/samples.ts'

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
  ])('the query %s is understood', query => {
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
  ])('the query %s is refused', (query, why) => {
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
