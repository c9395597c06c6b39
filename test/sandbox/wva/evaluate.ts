import type { Labels } from './exposition.ts'
import { type Expression, type Matcher, QueryError, type Selector } from './promql.ts'
import { instant, keyOf, range, type SampleStore, type Series } from './samples.ts'

export interface Point {
  readonly labels: Labels
  readonly value: number
}

/** The instant vector of a query at a moment in epoch milliseconds. */
export function evaluate(expression: Expression, store: SampleStore, at: number): Point[] {
  switch (expression.type) {
    case 'selector':
      return select(expression, store).flatMap(series => {
        const value = instant(series, at)
        return value === undefined ? [] : [{ labels: series.labels, value }]
      })
    case 'over time':
      return select(expression.of, store).flatMap(series => {
        const value = overTime(expression.fn, range(series, at, expression.of.rangeMs!))
        return value === undefined ? [] : [{ labels: withoutName(series.labels), value }]
      })
    case 'aggregation':
      return aggregate(expression.op, expression.by, evaluate(expression.of, store, at))
    case 'quotient': {
      const right = new Map(evaluate(expression.right, store, at).map(p => [keyOf(withoutName(p.labels)), p.value]))
      return evaluate(expression.left, store, at).flatMap(p => {
        const labels = withoutName(p.labels)
        const divisor = right.get(keyOf(labels))
        return divisor === undefined ? [] : [{ labels, value: p.value / divisor }]
      })
    }
  }
}

/** The series that a selector takes, whatever their samples say. */
export function select({ name, matchers }: Selector, store: SampleStore): Series[] {
  const named = name ?? matchers.find(m => m.label === '__name__' && m.op === '=')?.value
  if (named === undefined) throw new QueryError('a selector without a metric name is not supported')
  return store.family(named).filter(({ labels }) => matchers.every(m => matches(m, labels[m.label] ?? '')))
}

function matches({ op, value }: Matcher, actual: string): boolean {
  if (op === '=') return actual === value
  if (op === '!=') return actual !== value
  return new RegExp(`^(?:${value})$`).test(actual) === (op === '=~')
}

function overTime(fn: string, samples: readonly { time: number; value: number }[]): number | undefined {
  const values = samples.map(s => s.value)
  if (values.length === 0) return undefined
  if (fn === 'max_over_time') return Math.max(...values)
  if (fn === 'min_over_time') return Math.min(...values)
  if (fn === 'avg_over_time') return values.reduce((sum, v) => sum + v, 0) / values.length
  return rate(samples)
}

/** Increase per second between the first and the last sample, resets added; without Prometheus' extrapolation to the window's edges. */
function rate(samples: readonly { time: number; value: number }[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)]
  if (first === undefined || last === undefined || last.time <= first.time) return undefined
  let increase = 0
  for (const [i, { value }] of samples.entries()) {
    const before = samples[i - 1]?.value
    if (before !== undefined) increase += value < before ? value : value - before
  }
  return increase / ((last.time - first.time) / 1000)
}

function aggregate(op: string, by: readonly string[], points: readonly Point[]): Point[] {
  const groups = new Map<string, { labels: Labels; values: number[] }>()
  for (const { labels, value } of points) {
    const kept = Object.fromEntries(by.flatMap(name => (labels[name] ? [[name, labels[name]]] : []))) as Labels
    const key = keyOf(kept)
    const group = groups.get(key) ?? { labels: kept, values: [] }
    group.values.push(value)
    groups.set(key, group)
  }
  return [...groups.values()].map(({ labels, values }) => ({ labels, value: combine(op, values) }))
}

function combine(op: string, values: readonly number[]): number {
  if (op === 'max') return Math.max(...values)
  if (op === 'min') return Math.min(...values)
  if (op === 'count') return values.length
  const sum = values.reduce((total, v) => total + v, 0)
  return op === 'avg' ? sum / values.length : sum
}

function withoutName({ __name__: _, ...labels }: Labels): Labels {
  return labels
}
