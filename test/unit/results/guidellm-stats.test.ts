import { expect, test } from '@jest/globals'
import type { GuidellmBenchmark } from '../../../src/results/guidellm-record.ts'
import { guidellmStats } from '../../../src/results/guidellm-stats.ts'
import { raw, reduced, reportNames } from '../harness/fixture.ts'

const fields = [
  ['ttftMs', 'time_to_first_token_ms'],
  ['itlMs', 'inter_token_latency_ms'],
  ['requestLatencySeconds', 'request_latency'],
] as const

test.each(reportNames)(
  "median and p95 of %s, recomputed from the reduced records, are guidellm's own to the last bit",
  async name => {
    const benchmarks = (await reduced(name)).benchmarks as (GuidellmBenchmark & {
      metrics: Record<string, { successful: { count: number; median: number; percentiles: { p95: number } } }>
    })[]
    expect(benchmarks.length).toBeGreaterThan(0)
    for (const benchmark of benchmarks) {
      const stats = guidellmStats(benchmark)
      for (const [ours, theirs] of fields) {
        const { count, median, percentiles } = benchmark.metrics[theirs]!.successful
        const expected = count === 0 ? { median: null, p95: null } : { median, p95: percentiles.p95 }
        expect({ theirs, ...stats[ours] }).toEqual({ theirs, ...expected })
      }
    }
  },
)

test('the records are not cut to the window, the figures are: a request outside it changes nothing', () => {
  const benchmark = raw('0.5').benchmarks[3]
  const before = guidellmStats(benchmark)
  const outside = {
    request_start_time: benchmark.end_time + 1,
    request_end_time: benchmark.end_time + 60,
    request_latency: 59,
    time_to_first_token_ms: 50_000,
    inter_token_latency_ms: 900,
    output_tokens: 500,
  }
  benchmark.requests.successful.push(outside)
  expect(guidellmStats(benchmark)).toEqual(before)
  Object.assign(outside, { request_start_time: benchmark.end_time - 1 })
  expect(guidellmStats(benchmark)).not.toEqual(before)
})

test('ITL is weighted with the number of gaps: one long answer outweighs three short ones', () => {
  const record = (output_tokens: number, inter_token_latency_ms: number) => ({
    request_start_time: 1,
    request_end_time: 2,
    output_tokens,
    inter_token_latency_ms,
  })
  const successful = [record(2, 5), record(2, 6), record(2, 7), record(5, 20)]
  const stats = guidellmStats({ start_time: 0, end_time: 10, requests: { successful, errored: [], incomplete: [] } })
  // 3 of 7 gaps are short ones, though they are 6 of 11 tokens.
  expect(stats.itlMs).toEqual({ median: 20, p95: 20 })
  expect(stats.ttftMs).toEqual({ median: null, p95: null })
})
