import type { GuidellmBenchmark, GuidellmRecord } from './guidellm-record.ts'

/** Median and 95th percentile; null without data. */
export interface Quantiles {
  readonly median: number | null
  readonly p95: number | null
}
/** What guidellm's console shows of one benchmark. */
export interface GuidellmStats {
  readonly ttftMs: Quantiles
  readonly itlMs: Quantiles
  readonly requestLatencySeconds: Quantiles
}

/**
 * Recomputes guidellm's own figures from its records, to prove that both read the same requests. Its rules, not ours:
 * successful requests that overlap the measurement window (`request_end_time >= start_time` and `request_start_time <=
 * end_time`; the lists themselves are not cut to it), inverse-CDF percentiles, and ITL weighted with the number of gaps
 * (output tokens - 1). Where nothing was measured guidellm writes 0.0 and this is null.
 */
export function guidellmStats(benchmark: GuidellmBenchmark): GuidellmStats {
  const from = benchmark.start_time ?? Number.NEGATIVE_INFINITY
  const to = benchmark.end_time ?? Number.POSITIVE_INFINITY
  const inside = (benchmark.requests?.successful ?? []).filter(
    r => (r.request_end_time ?? Number.NaN) >= from && (r.request_start_time ?? Number.NaN) <= to,
  )
  return {
    ttftMs: quantilesOf(inside, r => r.time_to_first_token_ms),
    itlMs: quantilesOf(
      inside,
      r => r.inter_token_latency_ms,
      r => (r.output_tokens ?? 0) - 1,
    ),
    requestLatencySeconds: quantilesOf(inside, r => r.request_latency),
  }
}

function quantilesOf(
  records: readonly GuidellmRecord[],
  value: (record: GuidellmRecord) => number | null | undefined,
  weight?: (record: GuidellmRecord) => number,
): Quantiles {
  const weights = new Map<number, number>()
  let total = 0
  for (const record of records) {
    const at = value(record)
    const w = weight === undefined ? 1 : weight(record)
    if (typeof at !== 'number' || w <= 0) continue
    weights.set(at, (weights.get(at) ?? 0) + w)
    total += w
  }
  const sorted = [...weights].sort(([a], [b]) => a - b)
  return { median: inverse(sorted, total, 0.5), p95: inverse(sorted, total, 0.95) }
}

/**
 * The first value at which the running sum of shares reaches `p`. Shares are summed in floating point as guidellm does:
 * the first 7 of 14 values reach a little less than a half, so that its median is the eighth. Only here; our own
 * percentiles do not copy that.
 */
function inverse(sorted: readonly (readonly [number, number])[], total: number, p: number): number | null {
  let reached = 0
  for (const [value, weight] of sorted) {
    reached += weight / total
    if (reached >= p) return value
  }
  return sorted.at(-1)?.[0] ?? null
}
