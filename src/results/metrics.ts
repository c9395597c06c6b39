import { quantileOfSorted } from './quantile.ts'
import type { Rows } from './step-schema.ts'

/** The same step (position in the profile) of one or more pods and repeats. */
export interface StepSample {
  /** Requests per second over all pods that load at once. */
  readonly rate: number
  /** Length of the step, s. */
  readonly seconds: number
  /** How often the step was measured: its total time is `seconds` times this. */
  readonly repeats: number
  /** One entry per pod and repeat. */
  readonly rows: readonly Rows[]
  /** Some report held fewer records than guidellm counted. */
  readonly sampled: boolean
}

/** A row of the tables. New metrics are added here and nowhere else. */
export interface Metric {
  readonly id: string
  readonly label: string
  readonly unit: '' | 'ms' | 's' | 'tok/s'
  /** Which way is good; none for what the workload alone decides. */
  readonly direction: 'higher' | 'lower' | 'none'
  /** Counts are whole numbers and are summed over repeats. */
  readonly kind: 'count' | 'figure'
  /** Describes the survivors only: says so wherever it is shown. */
  readonly completedOnly: boolean
  /** Null where there is no data, which is never 0. */
  readonly of: (sample: StepSample) => number | null
}

type Kind = 'ttft-ms' | 'itl-ms' | 'latency-seconds'

/** A figure of one request; absent times give NaN. */
const figures: Readonly<Record<Kind, (rows: Rows, i: number) => number>> = {
  /** From the send, not from the scheduled start. */
  'ttft-ms': (rows, i) => 1000 * since(rows.firstToken[i], rows.sent[i]),
  /** Mean time between the tokens of a request after its first; what vLLM and WVA call TPOT. */
  'itl-ms': (rows, i) => rows.itlMs[i] ?? Number.NaN,
  'latency-seconds': (rows, i) => since(rows.end[i], rows.sent[i]),
}
const since = (later: number | null | undefined, earlier: number | null | undefined): number =>
  later == null || earlier == null ? Number.NaN : later - earlier

/** Sorted once per sample and kind: the percentiles of a row share them. */
const sortedOf = new WeakMap<StepSample, Partial<Record<Kind, Float64Array>>>()

/** The figure of every completed request that has one, ascending. */
function sorted(sample: StepSample, kind: Kind): Float64Array {
  const known = sortedOf.get(sample) ?? {}
  sortedOf.set(sample, known)
  const before = known[kind]
  if (before !== undefined) return before
  const figure = figures[kind]
  const values = new Float64Array(sample.rows.reduce((sum, rows) => sum + rows.status.length, 0))
  let n = 0
  for (const rows of sample.rows) {
    for (let i = 0; i < rows.status.length; i++) {
      if (rows.status[i] !== 'c') continue
      const value = figure(rows, i)
      if (!Number.isNaN(value)) values[n++] = value
    }
  }
  const result = values.subarray(0, n).sort()
  known[kind] = result
  return result
}

function countOf(sample: StepSample, status: 'c' | 'i' | 'e'): number {
  let n = 0
  for (const rows of sample.rows) for (const s of rows.status) if (s === status) n += 1
  return n
}

/** Output tokens of completed requests / step length: tokens of requests that were cut off served nobody. */
function outputRate(sample: StepSample): number | null {
  if (sample.sampled || sample.rows.length === 0) return null
  let tokens = 0
  let known = 0
  for (const rows of sample.rows) {
    for (let i = 0; i < rows.status.length; i++) {
      const produced = rows.outputTokens[i]
      if (rows.status[i] !== 'c' || produced == null) continue
      tokens += produced
      known += 1
    }
  }
  if (known === 0 && countOf(sample, 'c') > 0) return null
  return tokens / (sample.seconds * sample.repeats)
}

const count = (id: string, label: string, direction: Metric['direction'], of: Metric['of']): Metric => ({
  id,
  label,
  unit: '',
  direction,
  kind: 'count',
  completedOnly: false,
  of,
})
const latency = (id: string, label: string, unit: 'ms' | 's', p: number, kind: Kind): Metric => ({
  id,
  label,
  unit,
  direction: 'lower',
  kind: 'figure',
  completedOnly: true,
  of: sample => (sample.sampled ? null : quantileOfSorted(sorted(sample, kind), p)),
})
/** Counts of a sampled report would be too small. */
const counted = (status: 'c' | 'i' | 'e') => (sample: StepSample) => (sample.sampled ? null : countOf(sample, status))

/** In the order of the tables. Latencies: inverse-CDF percentiles, one weight per request, over completed requests. */
export const metrics: readonly Metric[] = [
  count('offered', 'Offered', 'none', sample => Math.round(sample.rate * sample.seconds * sample.repeats)),
  count('scheduled', 'Scheduled', 'none', sample =>
    sample.sampled ? null : sample.rows.reduce((sum, r) => sum + r.scheduled.length, 0),
  ),
  count('completed', 'Completed', 'higher', counted('c')),
  count('incomplete', 'Incomplete', 'lower', counted('i')),
  count('errored', 'Errored', 'lower', counted('e')),
  latency('ttft-p50', 'TTFT p50', 'ms', 0.5, 'ttft-ms'),
  latency('ttft-p95', 'TTFT p95', 'ms', 0.95, 'ttft-ms'),
  latency('itl-p50', 'ITL p50', 'ms', 0.5, 'itl-ms'),
  latency('itl-p95', 'ITL p95', 'ms', 0.95, 'itl-ms'),
  latency('latency-p50', 'Request latency p50', 's', 0.5, 'latency-seconds'),
  latency('latency-p95', 'Request latency p95', 's', 0.95, 'latency-seconds'),
  {
    id: 'output-rate',
    label: 'Output',
    unit: 'tok/s',
    direction: 'higher',
    kind: 'figure',
    completedOnly: false,
    of: outputRate,
  },
]

/** The value of every metric, by id. */
export const measure = (sample: StepSample): Readonly<Record<string, number | null>> =>
  Object.fromEntries(metrics.map(metric => [metric.id, metric.of(sample)]))
