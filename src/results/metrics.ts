import { quantile } from './quantile.ts'
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

type Cells = 'scheduled' | 'sent' | 'firstToken' | 'end' | 'itlMs' | 'outputTokens'

/** A value per completed request, absent where a column has no entry. */
function completedValues(
  sample: StepSample,
  value: (cell: (column: Cells) => number | null) => number | null,
): number[] {
  const values: number[] = []
  for (const rows of sample.rows) {
    for (const [i, status] of rows.status.entries()) {
      if (status !== 'c') continue
      const v = value(column => rows[column][i] ?? null)
      if (v !== null) values.push(v)
    }
  }
  return values
}

const difference = (later: number | null, earlier: number | null): number | null =>
  later === null || earlier === null ? null : later - earlier
const scaled = (value: number | null, factor: number): number | null => (value === null ? null : value * factor)

/** TTFT from the send, not from the scheduled start, ms. */
const ttftMs = (sample: StepSample): number[] =>
  completedValues(sample, cell => scaled(difference(cell('firstToken'), cell('sent')), 1000))
/** Mean time between the tokens of a request after its first, ms; what vLLM and WVA call TPOT. */
const itlMs = (sample: StepSample): number[] => completedValues(sample, cell => cell('itlMs'))
const latencySeconds = (sample: StepSample): number[] =>
  completedValues(sample, cell => difference(cell('end'), cell('sent')))

const countOf = (sample: StepSample, status: 'c' | 'i' | 'e'): number =>
  sample.rows.reduce((sum, rows) => sum + rows.status.filter(s => s === status).length, 0)

/** Output tokens of completed requests / step length: tokens of requests that were cut off served nobody. */
function outputRate(sample: StepSample): number | null {
  if (sample.sampled || sample.rows.length === 0) return null
  const tokens = completedValues(sample, cell => cell('outputTokens'))
  if (tokens.length === 0 && countOf(sample, 'c') > 0) return null
  return tokens.reduce((sum, n) => sum + n, 0) / (sample.seconds * sample.repeats)
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
const latency = (
  id: string,
  label: string,
  unit: 'ms' | 's',
  p: number,
  values: (sample: StepSample) => number[],
): Metric => ({
  id,
  label,
  unit,
  direction: 'lower',
  kind: 'figure',
  completedOnly: true,
  of: sample => (sample.sampled ? null : quantile(values(sample), p)),
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
  latency('ttft-p50', 'TTFT p50', 'ms', 0.5, ttftMs),
  latency('ttft-p95', 'TTFT p95', 'ms', 0.95, ttftMs),
  latency('itl-p50', 'ITL p50', 'ms', 0.5, itlMs),
  latency('itl-p95', 'ITL p95', 'ms', 0.95, itlMs),
  latency('latency-p50', 'Request latency p50', 's', 0.5, latencySeconds),
  latency('latency-p95', 'Request latency p95', 's', 0.95, latencySeconds),
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
