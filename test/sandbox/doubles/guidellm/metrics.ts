import {
  type ByStatus,
  byStatus,
  concurrencySummary,
  rateSummary,
  type Summary,
  summary,
  type Weighted,
} from './distributions.ts'

/** The fields of a request record that the metrics are computed from. */
export interface RequestRecord {
  readonly request_start_time: number | null
  readonly request_end_time: number
  readonly request_latency: number | null
  readonly prompt_tokens: number | null
  readonly output_tokens: number | null
  readonly total_tokens: number | null
  readonly time_to_first_token_ms: number | null
  readonly time_per_output_token_ms: number | null
  readonly inter_token_latency_ms: number | null
  readonly info: {
    readonly timings: {
      readonly first_token_iteration: number | null
      readonly last_token_iteration: number | null
      readonly token_iterations: number
      readonly request_iterations: number
    }
  }
  readonly input_metrics: Readonly<Record<string, number | null>>
  readonly output_metrics: Readonly<Record<string, number | null>>
}
export type Records = Record<'successful' | 'errored' | 'incomplete', readonly RequestRecord[]>

const flat = (values: readonly number[]) => summary(values.map((value): Weighted => [value, 1]))

function perIteration(r: RequestRecord): number | undefined {
  const iterations = r.info.timings.token_iterations
  return r.output_tokens === null || r.output_tokens <= 1 || iterations <= 1
    ? undefined
    : (r.output_tokens - 1) / (iterations - 1)
}

/** Output tokens after the first, spread evenly from the first to the last, since single arrivals are not kept. */
function laterTokens(r: RequestRecord): Weighted[] {
  const { first_token_iteration: first, last_token_iteration: last, token_iterations: n } = r.info.timings
  const each = perIteration(r)
  if (first === null || last === null || each === undefined) return []
  return Array.from({ length: n - 1 }, (_, i): Weighted => [first + ((last - first) * (i + 1)) / (n - 1), each])
}

function outputTimings(r: RequestRecord): Weighted[] {
  const { first_token_iteration: first, last_token_iteration: last, token_iterations: n } = r.info.timings
  if (first === null || last === null || n <= 1) return [[last ?? r.request_end_time, r.output_tokens ?? 0]]
  return [[first, r.output_tokens ? 1 : 0], ...laterTokens(r)]
}

const promptTiming = (r: RequestRecord): Weighted => [
  r.info.timings.first_token_iteration ?? r.request_end_time,
  r.prompt_tokens ?? 0,
]

/** The `metrics` tree of guidellm 0.5.0 over the records that overlap the measurement window (epoch seconds). */
export function metricsOf(all: Records, window: { start: number; end: number }): Record<string, unknown> {
  const inside = (r: RequestRecord) => r.request_end_time >= window.start && (r.request_start_time ?? 0) <= window.end
  const requests = {
    successful: all.successful.filter(inside),
    errored: all.errored.filter(inside),
    incomplete: all.incomplete.filter(inside),
  }
  const values = (field: (r: RequestRecord) => number | null) => byStatus(requests, r => [field(r) ?? 0], flat)
  const weighted = (field: (r: RequestRecord) => Weighted) => byStatus(requests, r => [field(r)], summary)
  const count = {
    successful: requests.successful.length,
    errored: requests.errored.length,
    incomplete: requests.incomplete.length,
  }
  return {
    request_totals: { ...count, total: count.successful + count.errored + count.incomplete },
    requests_per_second: byStatus(
      requests,
      (r): Weighted[] => [[r.request_end_time, 1]],
      events => rateSummary(events, window),
    ),
    request_concurrency: byStatus(
      requests,
      r => (r.request_start_time === null ? [] : [[r.request_start_time, r.request_end_time, 1] as const]),
      intervals => concurrencySummary(intervals, window),
    ),
    request_latency: values(r => r.request_latency),
    request_streaming_iterations_count: values(r => r.info.timings.request_iterations),
    prompt_token_count: values(r => r.prompt_tokens),
    output_token_count: values(r => r.output_tokens),
    total_token_count: values(r => r.total_tokens),
    time_to_first_token_ms: values(r => r.time_to_first_token_ms),
    time_per_output_token_ms: weighted(r => [r.time_per_output_token_ms ?? 0, r.output_tokens ?? 0]),
    inter_token_latency_ms: weighted(r => [r.inter_token_latency_ms ?? 0, (r.output_tokens || 1) - 1]),
    prompt_tokens_per_second: byStatus(
      requests,
      r => [promptTiming(r)],
      events => rateSummary(events),
    ),
    output_tokens_per_second: byStatus(requests, outputTimings, events => rateSummary(events)),
    tokens_per_second: byStatus(
      requests,
      r => [promptTiming(r), ...outputTimings(r)],
      events => rateSummary(events),
    ),
    output_tokens_per_iteration: byStatus(requests, r => outputTimings(r).map(([, tokens]) => tokens), flat),
    iter_tokens_per_iteration: byStatus(requests, r => laterTokens(r).map(([, tokens]) => tokens), flat),
    text: modality(requests, ['tokens', 'words', 'characters'], 'text'),
    image: modality(requests, ['tokens', 'images', 'pixels', 'bytes'], undefined),
    video: modality(requests, ['tokens', 'frames', 'seconds', 'bytes'], undefined),
    audio: modality(requests, ['tokens', 'samples', 'seconds', 'bytes'], undefined),
  }
}

/** Input, output and total of every measure of a modality; null where nothing was counted. */
function modality(requests: Records, measures: readonly string[], prefix: string | undefined): Record<string, unknown> {
  return Object.fromEntries(
    measures.map(measure => [
      measure,
      measureTree(requests, prefix === undefined ? undefined : `${prefix}_${measure}`),
    ]),
  )
}

function measureTree(requests: Records, property: string | undefined): Record<string, ByStatus<Summary> | null> {
  const counted = (r: RequestRecord) =>
    property !== undefined &&
    (r.input_metrics[property] ?? r.output_metrics[property]) != null &&
    r.request_start_time !== null
  const sides = {
    input: (r: RequestRecord) => [r.input_metrics[property!] ?? 0],
    output: (r: RequestRecord) => [r.output_metrics[property!] ?? 0],
  }
  const both = (r: RequestRecord) => [...sides.input(r), ...sides.output(r)]
  const trees = (side: (r: RequestRecord) => number[]) => {
    const of =
      <T>(make: (r: RequestRecord, value: number) => T) =>
      (r: RequestRecord) =>
        counted(r) ? side(r).map(value => make(r, value)) : []
    const value = byStatus(
      requests,
      of((_r, v) => v),
      flat,
    )
    if (value.total.total_sum === 0) return [null, null, null] as const
    return [
      value,
      byStatus(
        requests,
        of((r, v): Weighted => [r.request_end_time, v]),
        events => rateSummary(events),
      ),
      byStatus(
        requests,
        of((r, v) => [r.request_start_time!, r.request_end_time, v] as const),
        intervals => concurrencySummary(intervals),
      ),
    ] as const
  }
  const input = trees(sides.input)
  const output = trees(sides.output)
  const total = input[0] !== null && output[0] !== null ? trees(both) : ([null, null, null] as const)
  return Object.fromEntries(
    Object.entries({ input, output, total }).flatMap(([name, [value, rate, concurrency]]) => [
      [name, value],
      [`${name}_per_second`, rate],
      [`${name}_concurrency`, concurrency],
    ]),
  )
}
