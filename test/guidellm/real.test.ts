import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { detectLayout } from '../../src/harness/layout.ts'
import type { ReducedReport } from '../../src/harness/report-reader.ts'
import { guidellmStats } from '../../src/results/guidellm-stats.ts'
import { checkLeg, type LegDocument } from '../../src/results/schema.ts'
import type { ActionRun } from '../e2e/run-action.ts'
import { startWorld, type World } from '../e2e/world.ts'

const home = process.env.BENCH_GUIDELLM
const ring = home === undefined ? describe.skip : describe
const rates = [2, 4, 8]

/** The rows of guidellm's console table "Request Latency Statistics", one per rate: s and ms. */
function consoleTable(summary: string): { latency: [number, number]; ttft: [number, number]; itl: [number, number] }[] {
  const table = summary.slice(summary.indexOf('Request Latency Statistics'))
  return table
    .slice(0, table.indexOf('Server Throughput'))
    .split('\n')
    .filter(line => line.startsWith('| constant'))
    .map(line => {
      const [, , lm, lp, tm, tp, im, ip] = line.split('|').map(cell => Number(cell.trim()))
      return { latency: [lm!, lp!], ttft: [tm!, tp!], itl: [im!, ip!] }
    })
}

ring('real guidellm 0.5.0 on the sandbox (npm run test:guidellm)', () => {
  let world: World
  let step: ActionRun
  let files: Record<string, Buffer>
  let leg: LegDocument
  beforeAll(async () => {
    world = await startWorld({
      sandbox: {
        containerPath: [path.join(home!, 'bin')],
        env: {
          HF_HUB_OFFLINE: '1',
          TRANSFORMERS_OFFLINE: '1',
          GUIDELLM__MAX_WORKER_PROCESSES: '2',
          TOKENIZERS_PARALLELISM: 'false',
        },
      },
    })
    const standup = await world.main('standup')
    expect({ exit: standup.exitCode, out: standup.exitCode === 0 ? '' : standup.stdout }).toEqual({ exit: 0, out: '' })
    step = await world.main('run', {
      'workload-overrides': [
        `rate: [${rates}]`,
        'max_seconds: 8',
        'data.prompt_tokens: 120',
        'data.prompt_tokens_stdev: 40',
        'data.prompt_tokens_max: 240',
        'data.output_tokens: 40',
        'data.output_tokens_stdev: 20',
        'data.output_tokens_max: 90',
        `processor: ${path.join(home!, 'tokenizer')}`,
      ].join('\n'),
    })
    expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout }).toEqual({ exit: 0, out: '' })
    files = [...world.github.artifacts()].find(([n]) => n.includes('.results.'))![1].files
    const run = [...world.github.artifacts()].find(([n]) => /\.run\.a1$/.test(n))!
    const checked = checkLeg(JSON.parse(run[1].files['leg.json']!.toString('utf8')))
    if ('problems' in checked) throw new Error(checked.problems.join())
    leg = checked.leg
  }, 300_000)
  afterAll(() => world?.close(), 60_000)

  const file = (ending: string): string => files[Object.keys(files).find(n => n.endsWith(ending))!]!.toString('utf8')

  test('B62, B68: it was the real one, and its report, logs and summary are where they belong', () => {
    const report = JSON.parse(file('results.json'))
    expect(report.metadata.guidellm_version).toBe('0.5.0')
    expect(leg.identity.guidellmVersion).toBe('0.5.0')
    expect(file('summary.txt')).toMatch(/Setup complete, starting benchmarks/)
    expect(Object.keys(files).some(n => n.endsWith('stderr.log'))).toBe(true)
  })

  test('median and p95 of TTFT, ITL and request latency, recomputed from the records, equal the console', () => {
    const layout = detectLayout(JSON.parse(file('results.json')) as ReducedReport)
    const shown = consoleTable(file('summary.txt'))
    expect(shown).toHaveLength(rates.length)
    const rows: string[] = []
    for (const [i, benchmark] of layout.benchmarks.entries()) {
      const stats = guidellmStats(benchmark)
      const c = shown[i]!
      // The console rounds to one decimal.
      const round = (x: number | null) => Math.round((x ?? Number.NaN) * 10) / 10
      for (const [ours, theirs] of [
        [stats.requestLatencySeconds, c.latency],
        [stats.ttftMs, c.ttft],
        [stats.itlMs, c.itl],
      ] as const) {
        expect(Math.abs(round(ours.median) - theirs[0])).toBeLessThanOrEqual(0.1001)
        expect(Math.abs(round(ours.p95) - theirs[1])).toBeLessThanOrEqual(0.1001)
      }
      rows.push(
        `${rates[i]} req/s | console latency ${c.latency} s, TTFT ${c.ttft} ms, ITL ${c.itl} ms | recomputed ${round(stats.requestLatencySeconds.median)},${round(stats.requestLatencySeconds.p95)} s, ${round(stats.ttftMs.median)},${round(stats.ttftMs.p95)} ms, ${round(stats.itlMs.median)},${round(stats.itlMs.p95)} ms`,
      )
    }
    console.log(rows.join('\n'))
  })

  test("the comment's counts equal the records in the report", () => {
    const report = JSON.parse(file('results.json'))
    const body = world.github.comments()[0]!.body
    console.log(body)
    const cells = (label: RegExp) =>
      body
        .split('\n')
        .find(l => l.startsWith('|') && label.test(l))!
        .split('|')
        .slice(2, 2 + rates.length)
        .map(c => Number(/\d[\d,]*/.exec(c)?.[0].replaceAll(',', '')))
    const begin = (
      b: { requests: Record<string, { info: { timings: { targeted_start: number } } }[]> },
      rate: number,
    ) =>
      Math.min(
        ...['successful', 'incomplete', 'errored'].flatMap(s => b.requests[s]!.map(r => r.info.timings.targeted_start)),
      ) -
      1 / rate
    for (const [status, label] of [
      ['successful', /completed/i],
      ['incomplete', /incomplete/i],
      ['errored', /errored/i],
    ] as const) {
      const counted = report.benchmarks.map((b: never, i: number) => {
        const records = (b as { requests: Record<string, { info: { timings: { targeted_start: number } } }[]> })
          .requests[status]!
        const from = begin(b, rates[i]!)
        return records.filter(r => r.info.timings.targeted_start - from <= 8 + 0.01 / rates[i]!).length
      })
      expect({ status, cells: cells(label) }).toEqual({ status, cells: counted })
    }
  })

  test('every request asked for a length, its prompt is hashed and gone, and the two repeats of a seed would be equal', () => {
    for (const s of leg.repeats[0]!.steps) {
      expect(s.rows.requestedTokens.every(t => typeof t === 'number' && t >= 1)).toBe(true)
      expect(new Set(s.rows.promptHash).size).toBeGreaterThan(s.rows.promptHash.length / 2)
    }
    expect(file('results.json')).not.toMatch(/'prompt':|"prompt":\s*"/)
  })
})
