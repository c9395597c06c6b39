import { describe, expect, test } from '@jest/globals'
import { Engine, type EngineParameters, h100, parametersFrom, type Sequence } from '../../sandbox/doubles/engine.ts'
import { best, loadOf } from '../../sandbox/doubles/scorer.ts'

interface Outcome {
  readonly ttftMs: number
  readonly doneMs: number | undefined
}

/** Plays arrivals at a constant rate and returns what became of each request until `untilMs`. */
function play(
  parameters: EngineParameters,
  load: { rate: number; count: number; prompt: number; output: number; untilMs: number },
): { outcomes: Outcome[]; engine: Engine } {
  const first = new Map<Sequence, number>()
  const done = new Map<Sequence, number>()
  const engine = new Engine(parameters, (sequence, atMs) => {
    if (sequence.produced === 1) first.set(sequence, atMs)
    if (sequence.produced === sequence.maxTokens) done.set(sequence, atMs)
  })
  const sent = Array.from({ length: load.count }, (_, i) =>
    engine.submit(load.prompt, load.output, (i * 1000) / load.rate),
  )
  engine.advance(load.untilMs)
  return {
    engine,
    outcomes: sent.map(s => ({ ttftMs: (first.get(s) ?? load.untilMs) - s.arrivedMs, doneMs: done.get(s) })),
  }
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

describe('the queueing model of one replica', () => {
  test('a lone request takes its prefill plus one step per token', () => {
    const { outcomes } = play(h100, { rate: 1, count: 1, prompt: 2500, output: 101, untilMs: 60_000 })
    // 2500 tokens at 25,000 per second are 100 ms; a step is 7 ms and reads 2,500 tokens of cache.
    expect(outcomes[0]!.ttftMs).toBeCloseTo(107.1, 3)
    const stepMs = (outcomes[0]!.doneMs! - outcomes[0]!.ttftMs) / 100
    expect(stepMs).toBeGreaterThan(7.1)
    expect(stepMs).toBeLessThan(7.2)
  })

  test('TTFT stays flat below the capacity and grows with every request above it', () => {
    const parameters = { ...h100, maxSeqs: 8 }
    const service = { count: 200, prompt: 500, output: 100, untilMs: 600_000 }
    const calm = play(parameters, { ...service, rate: 4 }).outcomes.map(o => o.ttftMs)
    const flooded = play(parameters, { ...service, rate: 40 }).outcomes.map(o => o.ttftMs)
    expect(mean(calm.slice(-50))).toBeLessThan(2 * mean(calm.slice(0, 50)))
    expect(mean(calm)).toBeLessThan(100)
    expect(mean(flooded.slice(-50))).toBeGreaterThan(10 * mean(flooded.slice(0, 10)))
    expect(mean(flooded.slice(-50))).toBeGreaterThan(5_000)
  })

  test('twice the replicas serve more of a load that one cannot', () => {
    const load = { prompt: 4096, output: 1024, untilMs: 120_000 }
    const finished = (rate: number) =>
      play(h100, { ...load, rate, count: rate * 120 }).outcomes.filter(o => o.doneMs !== undefined).length
    expect(2 * finished(8)).toBeGreaterThan(1.5 * finished(16))
  })

  test('no more than max-num-seqs run at once and the others wait in order of arrival', () => {
    const { engine, outcomes } = play(
      { ...h100, maxSeqs: 4 },
      { rate: 1000, count: 10, prompt: 10, output: 50, untilMs: 300 },
    )
    expect(engine.running).toHaveLength(4)
    expect(engine.waiting).toHaveLength(6)
    expect(outcomes.every(o => o.doneMs === undefined)).toBe(true)
    engine.advance(10_000)
    expect(engine.running).toHaveLength(0)
    expect(engine.kvUsage).toBe(0)
  })

  test('a full KV cache puts the youngest sequence back and still finishes all of them', () => {
    const { engine, outcomes } = play(
      { ...h100, kvTokens: 1000 },
      { rate: 1000, count: 9, prompt: 100, output: 200, untilMs: 60_000 },
    )
    expect(engine.preemptions).toBeGreaterThan(0)
    expect(outcomes.every(o => o.doneMs !== undefined)).toBe(true)
    expect(engine.kvUsage).toBe(0)
  })

  test('the KV cache is never overbooked while more than one sequence runs', () => {
    let highest = 0
    const engine: Engine = new Engine({ ...h100, kvTokens: 2000 }, () => {
      highest = Math.max(highest, engine.kvUsage)
    })
    for (let i = 0; i < 30; i++) engine.submit(150, 120, i * 20)
    engine.advance(120_000)
    expect(highest).toBeGreaterThan(0.8)
    expect(highest).toBeLessThanOrEqual(1)
  })

  test('a long prompt delays the tokens of those that run', () => {
    const at: number[] = []
    const engine = new Engine(h100, sequence => {
      if (sequence.promptTokens === 10) at.push(engine.wakeAtMs!)
    })
    engine.submit(10, 100, 0)
    engine.advance(100)
    engine.submit(5000, 1, 100)
    engine.advance(10_000)
    const gaps = at.slice(1, -1).map((value, i) => value - at[i]!)
    expect(Math.max(...gaps)).toBeGreaterThan(200)
    expect(Math.min(...gaps)).toBeLessThan(8)
  })

  test('a cancelled request frees its place and its cache', () => {
    const engine = new Engine({ ...h100, maxSeqs: 1 }, () => undefined)
    const first = engine.submit(1000, 1000, 0)
    const second = engine.submit(10, 5, 1)
    engine.advance(500)
    expect(second.produced).toBe(0)
    engine.cancel(first)
    engine.advance(5_000)
    expect(second.produced).toBe(5)
    expect(engine.kvUsage).toBe(0)
    expect(engine.wakeAtMs).toBeUndefined()
  })

  test('a parameter that is no number is refused by its name', () => {
    expect(() => parametersFrom({ SIM_KV_TOKENS: 'many' })).toThrow('SIM_KV_TOKENS must be a number, not many')
    expect(parametersFrom({ SIM_STEP_MS: '20' }, 7)).toEqual({ ...h100, stepMs: 20, maxSeqs: 7 })
  })
})

describe("the endpoint picker's choice", () => {
  const replica = (
    endpoint: string,
    load: Partial<{ waiting: number; running: number; kvUsage: number; sent: number }> = {},
  ) => ({ endpoint, waiting: 0, running: 0, kvUsage: 0, sent: 0, ...load })

  test('the shorter queue wins', () => {
    expect(best([replica('a', { waiting: 5 }), replica('b', { waiting: 1 })])).toBe('b')
  })
  test('with equal queues the freer KV cache wins', () => {
    expect(best([replica('a', { kvUsage: 0.6 }), replica('b', { kvUsage: 0.5 })])).toBe('b')
  })
  test('what was sent since the last scrape counts, so a burst is spread evenly', () => {
    const sent: Record<string, number> = { a: 0, b: 0, c: 0 }
    for (let i = 0; i < 30; i++)
      sent[best(Object.entries(sent).map(([endpoint, n]) => replica(endpoint, { sent: n })))!]!++
    expect(sent).toEqual({ a: 10, b: 10, c: 10 })
  })
  test('nobody is chosen from nobody', () => {
    expect(best([])).toBeUndefined()
  })
  test('the gauges are read from a page of metrics', () => {
    const page =
      '# TYPE x gauge\nvllm:num_requests_running{engine="0",model_name="m"} 3\nvllm:num_requests_waiting{engine="0",model_name="m"} 7\nvllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
    expect(loadOf(page)).toEqual({ running: 3, waiting: 7, kvUsage: 0.25 })
  })
})
