import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { metricsOf, type Records } from '../../sandbox/doubles/guidellm/metrics.ts'
import { prompts } from '../../sandbox/doubles/guidellm/prompts.ts'
import { pythonRepr } from '../../sandbox/doubles/guidellm/python.ts'
import { readScenario, UsageError } from '../../sandbox/doubles/guidellm/scenario.ts'
import { tables } from '../../sandbox/doubles/guidellm/tables.ts'
import { type Ended, Programs } from './programs.ts'

interface Report {
  metadata: { version: number }
  args: { target: string; model: string; data: string[]; rate: number[] }
  benchmarks: {
    start_time: number
    end_time: number
    duration: number
    config: { strategy: { rate: number; max_concurrency: number } }
    metrics: Record<string, Record<string, number & { mean: number; count: number; total_sum: number }>>
    requests: Record<'successful' | 'errored' | 'incomplete', Request[]>
  }[]
}
type Request = Records['successful'][number] & {
  request_args: string
  output: string | null
  info: { status: string; error: string | null; timings: { targeted_start: number; request_start: number } }
}

const fixture = (name: string): Report => JSON.parse(readFileSync(join('test/fixtures/guidellm', name), 'utf8'))

/** Paths at which two trees differ, numbers compared to 9 digits. */
function differences(got: unknown, want: unknown, path = ''): string[] {
  if (typeof want === 'number' && typeof got === 'number')
    return Math.abs(got - want) <= 1e-9 * Math.max(1, Math.abs(want)) ? [] : [`${path}: ${got} is not ${want}`]
  if (typeof want !== 'object' || want === null || typeof got !== 'object' || got === null)
    return got === want ? [] : [`${path}: ${String(got)} is not ${String(want)}`]
  const names = new Set([...Object.keys(want), ...Object.keys(got)])
  return [...names].flatMap(name =>
    differences((got as Record<string, unknown>)[name], (want as Record<string, unknown>)[name], `${path}/${name}`),
  )
}

describe("the double's arithmetic is guidellm's own", () => {
  test.each(['GEN_v050_ok.json', 'GEN_v050_saturated.json', 'GEN_v050_allfail.json'])(
    'every metric of %s is reproduced from its records',
    name => {
      for (const benchmark of fixture(name).benchmarks) {
        const got = metricsOf(benchmark.requests, { start: benchmark.start_time, end: benchmark.end_time })
        // Sums of thousands of terms differ in the last digits.
        expect(differences(got, benchmark.metrics).filter(line => !/variance|std_dev/.test(line))).toEqual([])
      }
    },
  )

  test('the tables have the shape of the real console', () => {
    const text = tables(fixture('GEN_v050_saturated.json').benchmarks as unknown as Parameters<typeof tables>[0])
    const real = readFileSync('test/fixtures/guidellm/CLI_v050_stdout.log', 'utf8')
    const heads = (of: string) => /ℹ Request Latency Statistics[\s\S]*?\|-/.exec(of)![0].replace(/[ =]+/g, ' ')
    expect(heads(text)).toBe(heads(real))
    expect(text.split('\n').filter(line => line.startsWith('ℹ'))).toEqual(
      real.split('\n').filter(line => /^ℹ (?!Text)/.test(line)),
    )
  })
})

describe('the requests', () => {
  const take = (seed: number, rate: number, n = 20) => {
    const source = prompts(
      seed,
      rate,
      { mean: 100, stdev: 50, min: 10, max: 200 },
      { mean: 40, stdev: 20, min: 5, max: 80 },
    )
    return Array.from({ length: n }, () => source.next().value)
  }
  test('the same seed and rate index give the same requests, another seed or rate does not', () => {
    expect(take(42, 0)).toEqual(take(42, 0))
    expect(take(42, 0)).not.toEqual(take(43, 0))
    expect(take(42, 0).map(p => p.text)).not.toEqual(take(42, 1).map(p => p.text))
  })
  test('no two prompts share a beginning, and each has as many words as tokens', () => {
    const all = [...take(42, 0, 300), ...take(42, 1, 300)]
    expect(new Set(all.map(p => p.text.split(' ').slice(0, 2).join(' '))).size).toBe(600)
    for (const prompt of all) expect(prompt.text.split(' ')).toHaveLength(prompt.promptTokens)
  })
  test('lengths follow the normal distribution within min and max', () => {
    const all = take(7, 0, 3000)
    const mean = all.reduce((sum, p) => sum + p.promptTokens, 0) / all.length
    expect(Math.abs(mean - 100)).toBeLessThan(4)
    expect(Math.min(...all.map(p => p.promptTokens))).toBe(10)
    expect(Math.max(...all.map(p => p.promptTokens))).toBe(200)
    expect(Math.max(...all.map(p => p.outputTokens))).toBe(80)
  })
  test('text that Python would quote differently is quoted as Python does', () => {
    expect(pythonRepr({ a: [null, true, 1.5], b: "it's", c: 'say "it\'s"\n' })).toBe(
      `{'a': [None, True, 1.5], 'b': "it's", 'c': 'say "it\\'s"\\n'}`,
    )
  })
})

describe('scenarios', () => {
  test('the environment goes before the file and the command line before both', () => {
    const argv = [
      '--target',
      'http://h:1/v1/',
      '--rate',
      '3',
      '--max-seconds',
      '5',
      '--data',
      'prompt_tokens=4,output_tokens=2',
    ]
    const scenario = readScenario(argv, {
      GUIDELLM_RATE: '9',
      GUIDELLM_RANDOM_SEED: '7',
      GUIDELLM__MAX_CONCURRENCY: '2000',
      GUIDELLM__REQUEST_TIMEOUT: '999',
    })
    expect(scenario).toMatchObject({
      target: 'http://h:1',
      rates: [3],
      seed: 7,
      maxConcurrency: 2000,
      prompt: { mean: 4 },
      chat: true,
    })
    // That variable only sets how long guidellm waits for text files; the time-out of requests is an argument of the backend.
    expect(scenario.timeoutSeconds).toBe(60)
    expect(readScenario([...argv, '--backend-kwargs', '{"timeout": 300}'], {}).timeoutSeconds).toBe(300)
  })
  test('data that lost its indentation is refused', () => {
    expect(() => readScenario(['--target', 'http://h', '--rate', '1', '--max-seconds', '5'], {})).toThrow(UsageError)
  })
})

describe('a run against the vLLM double', () => {
  let programs: Programs
  let url = ''
  const scenario = (more: string, rate = '[6, 20]', seconds = 2) => `target: ${url}
model: sim/model
request_type: text_completions
profile: constant
rate: ${rate}
max_seconds: ${seconds}
data:
  prompt_tokens: 60
  prompt_tokens_stdev: 20
  prompt_tokens_min: 10
  prompt_tokens_max: 100
  output_tokens: 20
  output_tokens_stdev: 10
  output_tokens_min: 2
  output_tokens_max: 40
  samples: 1000
${more}`
  const guidellm = async (
    name: string,
    text: string,
    env: Record<string, string> = {},
  ): Promise<Ended & { read: () => Report }> => {
    await writeFile(join(programs.folder, `${name}.yaml`), text)
    const output = join(programs.folder, name, 'results.json')
    const ended = await programs.run(
      'guidellm',
      ['benchmark', '--scenario', `${name}.yaml`, '--output-path', output, '--disable-progress'],
      env,
    )
    return { ...ended, read: () => JSON.parse(readFileSync(output, 'utf8')) as Report }
  }

  beforeAll(async () => {
    programs = await Programs.create()
    url = (await programs.vllm()).url
  })
  afterAll(() => programs.close())

  test('the totals are those of its records, and a second run sends the same prompts', async () => {
    const [first, second] = await Promise.all([guidellm('one', scenario('')), guidellm('two', scenario(''))])
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' })
    const report = first.read()
    expect(report.metadata.version).toBe(1)
    expect(report.args).toMatchObject({ target: url, model: 'sim/model', rate: [6, 20] })
    expect(report.args.data[0]).toMatch(/^\{'prompt_tokens': 60, /)
    expect(report.benchmarks.map(b => b.config.strategy.rate)).toEqual([6, 20])
    for (const benchmark of report.benchmarks) {
      const { requests, metrics } = benchmark
      const inside = (r: Request) => r.request_start_time! <= benchmark.end_time
      const counts = {
        successful: requests.successful.filter(inside).length,
        errored: requests.errored.filter(inside).length,
        incomplete: requests.incomplete.filter(inside).length,
      }
      expect(metrics.request_totals).toEqual({
        ...counts,
        total: counts.successful + counts.errored + counts.incomplete,
      })
      expect(counts.errored).toBe(0)
      expect(counts.successful + counts.incomplete).toBeGreaterThanOrEqual(benchmark.config.strategy.rate * 2 - 1)
      expect(metrics.output_token_count!.successful!.total_sum).toBeCloseTo(
        requests.successful.filter(inside).reduce((sum, r) => sum + r.output_tokens!, 0),
        6,
      )
      expect(benchmark.duration).toBeCloseTo(2, 3)
      for (const r of requests.successful) {
        expect(r.request_args).toContain(`'max_tokens': ${r.output_tokens}, 'stop': None, 'ignore_eos': True`)
        expect(r.info.timings.token_iterations).toBe(r.output_tokens)
        expect(r.time_to_first_token_ms!).toBeGreaterThan(5)
      }
    }
    const sent = (of: Report) =>
      of.benchmarks.map(b => {
        const all = [...b.requests.successful, ...b.requests.incomplete].sort(
          (x, y) => x.info.timings.targeted_start - y.info.timings.targeted_start,
        )
        return all.slice(0, 10).map(r => r.request_args)
      })
    expect(sent(second.read())).toEqual(sent(report))
  })

  test('the console says when the benchmarks start and ends with the tables', async () => {
    const { stdout } = await guidellm('console', scenario('', '[10]', 1))
    expect(stdout.match(/Setup complete, starting benchmarks/g)).toHaveLength(1)
    for (const title of [
      'Run Summary Info',
      'Request Latency Statistics (Completed Requests)',
      'Server Throughput Statistics',
    ]) {
      expect(stdout.indexOf(title)).toBeGreaterThan(stdout.indexOf('Setup complete'))
    }
  })

  test('a server that is too slow leaves requests incomplete, and latency is known only for those that came back', async () => {
    const slow = await programs.vllm({ SIM_MAX_SEQS: '2', SIM_STEP_MS: '20' })
    const { code, read } = await guidellm('slow', scenario('', '[20]').replace(url, slow.url))
    expect(code).toBe(0)
    const { requests } = read().benchmarks[0]!
    expect(requests.incomplete.length).toBeGreaterThan(requests.successful.length)
    const cut = requests.incomplete[0]!
    expect(cut).toMatchObject({
      request_latency: null,
      output_tokens: null,
      inter_token_latency_ms: null,
      info: { status: 'cancelled', error: 'Request was cancelled' },
    })
    const ttft = requests.successful.map(r => r.time_to_first_token_ms!)
    expect(ttft.at(-1)!).toBeGreaterThan(3 * ttft[0]!)
  })

  test('at the in-flight limit requests are sent late and the rest is never sent', async () => {
    const slow = await programs.vllm({ SIM_STEP_MS: '50' })
    const { read } = await guidellm('limited', scenario('', '[40]').replace(url, slow.url), {
      GUIDELLM__MAX_CONCURRENCY: '4',
    })
    const benchmark = read().benchmarks[0]!
    const all = [...benchmark.requests.successful, ...benchmark.requests.incomplete]
    expect(benchmark.config.strategy.max_concurrency).toBe(4)
    expect(all.length).toBeLessThan(40)
    expect(Math.max(...all.map(r => r.info.timings.request_start - r.info.timings.targeted_start))).toBeGreaterThan(0.5)
  })

  test('a read time-out is an error without words', async () => {
    const stuck = await programs.vllm({ SIM_STEP_MS: '5000' })
    const { read } = await guidellm('stuck', scenario('backend_kwargs: {timeout: 0.5}', '[4]').replace(url, stuck.url))
    const { errored } = read().benchmarks[0]!.requests
    expect(errored.length).toBeGreaterThanOrEqual(4)
    expect(errored[0]).toMatchObject({
      request_latency: null,
      time_to_first_token_ms: null,
      info: { status: 'errored', error: '' },
    })
  })

  test('a wrong model makes every request an error and still exits with 0', async () => {
    const { code, read } = await guidellm('wrong', scenario('', '[5]', 1).replace('sim/model', 'other/model'))
    expect(code).toBe(0)
    const { requests, metrics } = read().benchmarks[0]!
    expect(requests.successful).toEqual([])
    expect(requests.errored[0]!.info.error).toContain("Client error '404 Not Found' for url")
    expect(metrics.time_to_first_token_ms!.successful).toMatchObject({ mean: 0, count: 0 })
  })

  test('a target that is down ends it with 1 and without a report', async () => {
    const { code, stderr, read } = await guidellm('down', scenario('', '[5]', 1).replace(url, 'http://127.0.0.1:9'))
    expect(code).toBe(1)
    expect(stderr).toContain('RuntimeError')
    expect(read).toThrow('ENOENT')
  })

  test('faults can be asked for: an exit code, half a report, an empty one', async () => {
    const text = scenario('', '[5]', 1)
    const [failed, half, empty] = await Promise.all([
      guidellm('f1', text, { FAKE_GUIDELLM_EXIT: '3' }),
      guidellm('f2', text, { FAKE_GUIDELLM_TRUNCATE: '1' }),
      guidellm('f3', text, { FAKE_GUIDELLM_EMPTY: '1' }),
    ])
    expect([failed.code, half.code, empty.code]).toEqual([3, 0, 0])
    expect(failed.read).toThrow('ENOENT')
    expect(half.read).toThrow(SyntaxError)
    expect(readFileSync(join(programs.folder, 'f3', 'results.json'), 'utf8')).toBe('')
  })
})
