/** guidellm's summary of a weighted distribution. */
export interface Summary {
  mean: number
  median: number
  mode: number
  variance: number
  std_dev: number
  min: number
  max: number
  count: number
  total_sum: number
  percentiles: Record<string, number>
  pdf: null
}
export type ByStatus<T> = Record<'successful' | 'errored' | 'incomplete' | 'total', T>
type Statuses<T> = Record<'successful' | 'errored' | 'incomplete', readonly T[]>
/** A value and its weight. */
export type Weighted = readonly [value: number, weight: number]

const quantiles: Record<string, number> = {
  p001: 0.001, p01: 0.01, p05: 0.05, p10: 0.1, p25: 0.25, p50: 0.5, p75: 0.75, p90: 0.9, p95: 0.95, p99: 0.99, p999: 0.999,
} // biome-ignore format: one line per idea
/** Events nearer than this many seconds count as one. */
const mergeSeconds = 1e-4

/** Percentiles are the smallest value whose cumulative weight reaches p, without interpolation. No values: all zero. */
export function summary(
  values: readonly Weighted[],
  count = Math.round(values.reduce((sum, [, weight]) => sum + weight, 0)),
): Summary {
  const weights = new Map<number, number>()
  for (const [value, weight] of values) weights.set(value, (weights.get(value) ?? 0) + weight)
  let pairs = [...weights].filter(([, weight]) => weight > 0).sort((a, b) => a[0] - b[0])
  const total = pairs.reduce((sum, [, weight]) => sum + weight, 0)
  if (pairs.length === 0) {
    const zeros = Object.fromEntries(Object.keys(quantiles).map(name => [name, 0]))
    return {
      mean: 0,
      median: 0,
      mode: 0,
      variance: 0,
      std_dev: 0,
      min: 0,
      max: 0,
      count,
      total_sum: 0,
      percentiles: zeros,
      pdf: null,
    }
  }
  pairs = pairs.map(([value, weight]) => [value, weight / total])
  const mean = pairs.reduce((sum, [value, p]) => sum + value * p, 0)
  const variance = pairs.reduce((sum, [value, p]) => sum + (value - mean) ** 2 * p, 0)
  const cumulative: number[] = []
  for (const [, p] of pairs) cumulative.push((cumulative.at(-1) ?? 0) + p)
  const percentiles: Record<string, number> = {}
  for (const [name, p] of Object.entries(quantiles)) {
    const at = cumulative.findIndex(c => c >= p)
    percentiles[name] = pairs[at < 0 ? pairs.length - 1 : at]![0]
  }
  const mode = pairs.reduce((best, pair) => (pair[1] > best[1] ? pair : best))[0]
  const first = pairs[0]![0]
  const last = pairs.at(-1)![0]
  return {
    mean,
    median: percentiles.p50!,
    mode,
    variance,
    std_dev: Math.sqrt(variance),
    min: first,
    max: last,
    count,
    total_sum: mean * count,
    percentiles,
    pdf: null,
  }
}

/** Adds up what falls within the merge distance of the first event of a group. */
function merged(events: readonly Weighted[]): [number, number][] {
  const groups: [number, number][] = []
  for (const [time, weight] of [...events].sort((a, b) => a[0] - b[0])) {
    const group = groups.at(-1)
    if (group !== undefined && time - group[0] <= mergeSeconds) group[1] += weight
    else groups.push([time, weight])
  }
  return groups
}

/** Instantaneous rate: the weight of every event over the time from half-way to its neighbours, weighted by that time. */
export function rateSummary(events: readonly Weighted[], window?: { start: number; end: number }): Summary {
  const inside = window === undefined ? events : events.filter(([time]) => time >= window.start && time <= window.end)
  const times = merged(window === undefined ? inside : [[window.start, 0], ...inside, [window.end, 0]])
  if (times.length <= 1) return summary([])
  const values = times.map(([time, weight], i): Weighted => {
    const from = i === 0 ? time : (times[i - 1]![0] + time) / 2
    const to = i === times.length - 1 ? time : (time + times[i + 1]![0]) / 2
    const duration = i === times.length - 1 ? Math.max(to - from, 1e-6) : to - from
    return [weight / duration, duration]
  })
  return summary(values, Math.round(times.reduce((sum, [, weight]) => sum + weight, 0)))
}

/** How much was going on at a time, weighted by how long. Intervals are start, end, weight. */
export function concurrencySummary(
  intervals: readonly (readonly [number, number, number])[],
  window?: { start: number; end: number },
): Summary {
  const kept =
    window === undefined ? intervals : intervals.filter(([start, end]) => end >= window.start && start <= window.end)
  let changes = merged(
    kept.flatMap(([start, end, weight]): Weighted[] => [
      [start, weight],
      [end, -weight],
    ]),
  )
  if (window !== undefined && changes.length > 0) {
    const before = changes.filter(([time]) => time < window.start).reduce((sum, [, weight]) => sum + weight, 0)
    changes = [
      [window.start, before],
      ...changes.filter(([time]) => time >= window.start && time <= window.end),
      [window.end, 0],
    ]
  }
  let level = 0
  const values: Weighted[] = []
  for (const [i, [time, change]] of changes.entries()) {
    level += change
    if (i + 1 < changes.length) values.push([Math.max(0, level), Math.max(0, changes[i + 1]![0] - time)])
  }
  return summary(values, kept.length)
}

/** One summary per status, and one over all together. */
export function byStatus<R, T>(
  requests: Statuses<R>,
  extract: (request: R) => readonly T[],
  summarise: (values: readonly T[]) => Summary,
): ByStatus<Summary> {
  const values = {
    successful: requests.successful.flatMap(extract),
    errored: requests.errored.flatMap(extract),
    incomplete: requests.incomplete.flatMap(extract),
  }
  const total = [...values.successful, ...values.incomplete, ...values.errored]
  return {
    successful: summarise(values.successful),
    errored: summarise(values.errored),
    incomplete: summarise(values.incomplete),
    total: summarise(total),
  }
}
