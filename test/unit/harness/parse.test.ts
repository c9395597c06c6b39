import { expect, test } from '@jest/globals'
import { parseReport } from '../../../src/harness/parse.ts'
import { measure } from '../../../src/results/metrics.ts'
import type { Step } from '../../../src/results/schema.ts'
import { failureOf } from './failure-of.ts'
import { parsed, type ReportName, raw, readText, reduced } from './fixture.ts'

const versions: ReportName[] = ['0.4.0', '0.5', '0.6', '0.7']
const figures = (step: Step) =>
  measure({ rate: step.rate, seconds: step.seconds, repeats: 1, rows: [step.rows], sampled: step.sampled })

test.each([
  ['0.4.0', undefined],
  ['0.5', '0.5.0'],
  ['0.6', '0.6.1'],
  ['0.7', '0.7.3'],
] as const)('a report of guidellm %s is recognised by what it contains', async (line, guidellmVersion) => {
  const report = await parsed(line)
  expect(report).toMatchObject({
    line,
    guidellmVersion,
    model: 'sim/model',
    target: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
  })
  expect(report.steps.map(s => [s.index, s.rate, s.seconds])).toEqual([
    [0, 1, 8],
    [1, 2, 8],
    [2, 4, 8],
    [3, 8, 8],
  ])
})

test('the version that a report states is not believed: a 0.6 layout that says 0.5.0.dev0 is read as 0.6', async () => {
  const report = raw('0.6')
  report.metadata.guidellm_version = '0.5.0.dev0'
  expect(parseReport(await readText(JSON.stringify(report)))).toMatchObject({
    line: '0.6',
    guidellmVersion: '0.5.0.dev0',
    model: 'sim/model',
  })
})

test('0.8 keeps the layout of 0.7 and is read', async () => {
  const report = raw('0.7')
  report.metadata.guidellm_version = '0.8.1'
  report.config.new_field = { anything: true }
  expect(parseReport(await readText(JSON.stringify(report))).steps).toHaveLength(4)
})

test.each(versions)('a step of guidellm %s holds rate x seconds requests: later records are dropped', async version => {
  const report = await parsed(version)
  for (const step of report.steps) {
    expect(step.rows.scheduled).toHaveLength(step.rate * step.seconds)
    expect(step.rows.scheduled[0]).toBeCloseTo(1 / step.rate, 4)
    expect(Math.max(...step.rows.scheduled)).toBeLessThanOrEqual(step.seconds + 0.001)
    // From 0.6 on the window begins with the first request, so one more is sent.
    expect(step.dropped).toBe(version === '0.6' || version === '0.7' ? 1 : 0)
  }
})

test.each(versions)('columns of %s have one entry per request, in order of schedule', async version => {
  for (const { rows } of (await parsed(version)).steps) {
    expect(new Set(Object.values(rows).map(column => column.length))).toEqual(new Set([rows.scheduled.length]))
    expect([...rows.scheduled].sort((a, b) => a - b)).toEqual(rows.scheduled)
    for (const [i, status] of rows.status.entries()) {
      expect({ status, end: rows.end[i] !== null }).toEqual({ status, end: status !== 'i' })
      if (status === 'c') expect(rows.end[i]!).toBeGreaterThanOrEqual(rows.lastToken[i]!)
      expect(rows.sent[i]!).toBeGreaterThanOrEqual(rows.scheduled[i]! - 0.01)
    }
  }
})

test('request latency is read in seconds, the other latencies in ms', async () => {
  const step = (await parsed('0.5')).steps[0]!
  const records = raw('0.5').benchmarks[0].requests.successful as {
    request_latency: number
    time_to_first_token_ms: number
  }[]
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.ceil(values.length / 2) - 1]!
  expect(figures(step)['latency-p50']).toBeCloseTo(median(records.map(r => r.request_latency)), 4)
  expect(figures(step)['ttft-p50']).toBeCloseTo(median(records.map(r => r.time_to_first_token_ms)), 2)
})

test('ITL is guidellm inter-token latency; its time per output token, which holds TTFT, is not used', async () => {
  const benchmark = raw('0.5').benchmarks[3]
  const { rows } = (await parsed('0.5')).steps[3]!
  const completed = rows.itlMs.filter((_v, i) => rows.status[i] === 'c')
  type Record = { inter_token_latency_ms: number; time_per_output_token_ms: number }
  const own = (field: keyof Record) =>
    benchmark.requests.successful.map((r: Record) => Number(r[field].toFixed(4))).sort()
  expect([...completed].sort()).toEqual(own('inter_token_latency_ms'))
  expect([...completed].sort()).not.toEqual(own('time_per_output_token_ms'))
})

test('no data is null, not 0.0: where every request failed, guidellm writes a TTFT of 0 ms', async () => {
  expect(raw('all failed').benchmarks[0].metrics.time_to_first_token_ms.successful.median).toBe(0)
  for (const step of (await parsed('all failed')).steps) {
    expect(figures(step)).toMatchObject({
      completed: 0,
      'ttft-p50': null,
      'ttft-p95': null,
      'itl-p50': null,
      'latency-p50': null,
    })
    expect(figures(step).errored! + figures(step).incomplete!).toBe(step.rate * step.seconds)
    expect(step.rows.firstToken.every(t => t === null)).toBe(true)
  }
})

test('latencies are of completed requests: a cut-off request with a first token changes none of them', async () => {
  const step = (await parsed('saturated')).steps[3]!
  const cutAfterToken = step.rows.status.filter((s, i) => s === 'i' && step.rows.firstToken[i] !== null).length
  expect(cutAfterToken).toBeGreaterThan(0)
  const without = structuredClone(step)
  for (const [i, status] of step.rows.status.entries())
    if (status === 'i') without.rows.firstToken[i] = without.rows.itlMs[i] = null
  expect(figures(without)).toEqual(figures(step))
})

test('counts come from the records: request_totals leaves out the request at the end of the window', async () => {
  for (const step of (await parsed('0.5')).steps) {
    expect(step.totals.total).toBe(step.rate * step.seconds - 1)
    expect(figures(step).scheduled).toBe(step.rate * step.seconds)
    expect(figures(step).completed).toBe(step.totals.successful)
  }
})

test('output tokens per second are tokens of completed requests / step length, not the mean that guidellm states', async () => {
  const step = (await parsed('saturated')).steps[3]!
  const benchmark = raw('saturated').benchmarks[3]
  const tokens = benchmark.requests.successful.reduce(
    (sum: number, r: { output_tokens: number }) => sum + r.output_tokens,
    0,
  )
  expect(figures(step)['output-rate']).toBeCloseTo(tokens / 10, 6)
  expect(
    Math.abs(figures(step)['output-rate']! / benchmark.metrics.output_tokens_per_second.successful.mean - 1),
  ).toBeGreaterThan(0.005)
})

test('output tokens of a request that was cut off are those that had arrived', async () => {
  for (const version of ['0.4.0', '0.6'] as const) {
    const { rows } = (await parsed(version)).steps[3]!
    const cut = rows.outputTokens.filter((_n, i) => rows.status[i] === 'i' && rows.firstToken[i] !== null)
    expect(cut.length).toBeGreaterThan(0)
    expect(cut.every(n => n !== null && n > 0)).toBe(true)
  }
})

test('the requested length is read from a Python repr up to 0.5 and from JSON from 0.6 on', async () => {
  for (const version of versions) {
    const { rows } = (await parsed(version)).steps[3]!
    for (const [i, status] of rows.status.entries())
      if (status === 'c') expect(rows.requestedTokens[i]).toBe(rows.outputTokens[i])
    expect(rows.requestedTokens.every(n => n !== null && n > 0)).toBe(true)
  }
})

test('equal prompts have equal hashes whichever version sent them', async () => {
  const hashes = async (version: ReportName) => new Set((await parsed(version)).steps[3]!.rows.promptHash)
  const old = await hashes('0.5')
  expect(old.size).toBeGreaterThan(60)
  const shared = [...(await hashes('0.7'))].filter(hash => old.has(hash))
  expect(shared.length).toBeGreaterThan(60)
  expect([...old].every(hash => /^[0-9a-f]{16}$/.test(hash!))).toBe(true)
})

test("the client's in-flight limit and its lateness are read: 512 up to 0.6, 10240 in 0.7", async () => {
  expect((await parsed('0.5')).steps.map(s => s.maxConcurrency)).toEqual([512, 512, 512, 512])
  expect((await parsed('0.7')).steps.map(s => s.maxConcurrency)).toEqual([10240, 10240, 10240, 10240])
  const lag = (await parsed('0.5')).steps.map(s => s.sendLagP99Ms!)
  expect(lag.every(ms => ms > 0)).toBe(true)
  expect(lag[3]).toBeCloseTo(137.779, 2)
})

test('a file with fewer records than guidellm counted is marked as sampled and gives no counts', async () => {
  const report = raw('0.5')
  report.benchmarks[3].requests.successful.splice(10)
  const { steps } = parseReport(await readText(JSON.stringify(report)))
  expect(steps.map(s => s.sampled)).toEqual([false, false, false, true])
  expect(figures(steps[3]!)).toMatchObject({ offered: 64, completed: null, 'ttft-p50': null, 'output-rate': null })
})

test('steps are matched by rate: a profile that a constraint ended early has no step for the missing rate', async () => {
  const report = raw('0.5')
  report.benchmarks.splice(1, 1)
  expect(parseReport(await readText(JSON.stringify(report))).steps.map(s => [s.index, s.rate])).toEqual([
    [0, 1],
    [2, 4],
    [3, 8],
  ])
})

test('a profile that goes up and down again keeps its steps apart', async () => {
  const report = raw('0.5')
  report.args.rate = [1, 2, 1]
  report.benchmarks = [report.benchmarks[0], report.benchmarks[1], structuredClone(report.benchmarks[0])]
  expect(parseReport(await readText(JSON.stringify(report))).steps.map(s => [s.index, s.rate])).toEqual([
    [0, 1],
    [1, 2],
    [2, 1],
  ])
})

test('parsing a reduced report that was written and read again gives the same steps', async () => {
  for (const version of versions) {
    const once = await reduced(version)
    const again = await readText(JSON.stringify(once))
    expect(parseReport(again)).toEqual(parseReport(once))
  }
})

test.each([
  ['0.3', { benchmarks: [{ run_stats: {}, args: {} }] }, 'guidellm 0.3 or older'],
  [
    'before 0.4',
    { args: { output_formats: ['json'], target: 'http://x' }, benchmarks: [{}] },
    'development version before 0.4',
  ],
  ['unknown', { metadata: { version: 9 }, results: [], benchmarks: [{}] }, 'metadata, results, benchmarks'],
  ['no benchmarks', { metadata: { version: 1 }, args: {} }, 'no list `benchmarks`'],
  ['empty', { metadata: { version: 1 }, args: { target: 'http://x' }, benchmarks: [] }, 'an empty list'],
])('a layout that cannot be read is refused, naming what was found: %s', async (_name, report, found) => {
  const failure = await failureOf(async () => parseReport(await readText(JSON.stringify(report))))
  expect(failure).toMatchObject({
    code: 'RESULTS',
    why: expect.stringContaining(found),
    next: expect.stringContaining('harness-image'),
  })
})

test('a benchmark without a rate, without records or without totals is refused, naming it', async () => {
  const broken = async (change: (benchmark: Record<string, unknown>) => void) => {
    const report = raw('0.5')
    change(report.benchmarks[1])
    return (await failureOf(async () => parseReport(await readText(JSON.stringify(report))))).why
  }
  expect(await broken(b => Object.assign(b, { config: { strategy: { type_: 'throughput' } } }))).toContain(
    'benchmark 1 of strategy "throughput"',
  )
  expect(await broken(b => Object.assign(b, { requests: null }))).toContain('benchmark 1 without `requests`')
  expect(await broken(b => Object.assign(b, { metrics: {} }))).toContain('benchmark 1 without `metrics.request_totals`')
})
