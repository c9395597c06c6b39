import { expect, test } from '@jest/globals'
import { readReport } from '../../../src/harness/report-reader.ts'
import { failureOf } from './failure-of.ts'
import { type ReportName, raw, readText, reduced, reportNames, reports, stream } from './fixture.ts'

// biome-ignore lint/suspicious/noExplicitAny: guidellm's own layout
const records = (report: any): any[] =>
  report.benchmarks.flatMap((b: { requests: object }) => Object.values(b.requests).flat().filter(Boolean))

test.each(reportNames)('the reduced report of %s holds no prompt and no completion', async name => {
  const before = records(raw(name))
  const report = await reduced(name)
  const text = JSON.stringify(report)
  expect(records(report)).toHaveLength(before.length)
  for (const record of before) {
    const prompt = /['"]prompt['"]: ?['"]([^'"]+)/.exec(record.request_args)![1]!
    expect(text.includes(prompt)).toBe(false)
  }
  expect(text).not.toContain(' tok tok')
  for (const record of records(report)) {
    expect(record.request_args).toMatch(/^\{"max_tokens":\d+\}$/)
    expect(record.output).toBeNull()
  }
})

test('everything but texts is as guidellm wrote it', async () => {
  const strip = (report: ReturnType<typeof raw>) => {
    for (const record of records(report)) {
      for (const key of ['request_args', 'output', 'prompt_hash', 'reasoning_output', 'tool_calls']) delete record[key]
      delete record.info.traceback
    }
    return report
  }
  for (const name of Object.keys(reports) as ReportName[]) expect(strip(await reduced(name))).toEqual(strip(raw(name)))
})

test('a report in chunks of any size is read the same', async () => {
  const text = JSON.stringify({
    args: { note: 'é "x" 日本 \\' },
    benchmarks: [{ requests: { successful: [{ request_args: '{"max_tokens": 7, "prompt": "日本"}', output: 'x' }] } }],
  })
  const whole = await readText(text)
  for (const size of [1, 2, 3, 7, 50]) expect(await readText(text, size)).toEqual(whole)
  expect(whole).toMatchObject({
    args: { note: 'é "x" 日本 \\' },
    benchmarks: [{ requests: { successful: [{ request_args: '{"max_tokens":7}', output: null }] } }],
  })
})

test('NaN and Infinity, which Python writes and JSON does not know, are read as null', async () => {
  const text =
    '{"benchmarks": [{"a": NaN, "b": [Infinity, -Infinity, -1.5], "c": "NaN -Infinity: NaN", "requests": {"successful": [{"request_latency": NaN}]}}]}'
  for (const size of [1, 2, 5, 1000]) {
    expect(await readText(text, size)).toMatchObject({
      benchmarks: [
        {
          a: null,
          b: [null, null, -1.5],
          c: 'NaN -Infinity: NaN',
          requests: { successful: [{ request_latency: null }] },
        },
      ],
    })
  }
})

test('the words stay in a string whatever is escaped in it, in chunks of any size', async () => {
  const notes = ['say "NaN" or \\', '\\', 'NaN\\\\"Infinity', '"-Infinity"']
  for (const size of [1, 2, 3, 1000])
    expect(await readText(JSON.stringify({ notes, n: 1 }), size)).toEqual({ notes, n: 1 })
})

test('an API key in backend arguments does not survive, wherever it stands', async () => {
  const report = raw('0.6')
  report.args.backend_kwargs.api_key = 'sk-canary-1'
  report.args.backend_kwargs.headers = { Authorization: 'Bearer canary-2' }
  report.args.description = "{'api_key': 'canary-3', 'max_tokens': 5}"
  report.benchmarks[0].config.backend.api_key = { value: 'canary-4' }
  const text = JSON.stringify(await readText(JSON.stringify(report)))
  expect(text).not.toContain('canary')
  expect(text).toContain('REDACTED')
  expect(text).toContain('max_tokens')
})

test('a traceback is dropped and a long error is cut: both may quote the prompt', async () => {
  const record = { request_args: null, info: { error: 'x'.repeat(5000), traceback: 'Traceback: secret prompt' } }
  const text = JSON.stringify(await readText(JSON.stringify({ benchmarks: [{ requests: { errored: [record] } }] })))
  expect(text).not.toContain('secret prompt')
  expect(text.length).toBeLessThan(600)
})

test.each(['', '   \n'])('an empty file (%j) is named as empty', async text => {
  expect(await failureOf(() => readText(text))).toMatchObject({
    code: 'RESULTS',
    what: expect.stringContaining('is empty'),
  })
})

test('a truncated file is named as truncated wherever it was cut, with its size', async () => {
  const text = JSON.stringify(raw('0.5')).slice(0, 300_000)
  for (const length of [1, 10, 5000, 299_999]) {
    const failure = await failureOf(() => readText(text.slice(0, length)))
    expect(failure).toMatchObject({
      code: 'RESULTS',
      what: expect.stringContaining(`truncated: it ends after ${Buffer.byteLength(text.slice(0, length))} bytes`),
    })
  }
})

test.each([
  '<html>504 Gateway Time-out</html>',
  'Traceback (most recent call last):',
  '[1, 2]',
  '"text"',
  '{"benchmarks": [Nope]}',
  '{} trailing',
])('%s is named as not JSON', async text => {
  const failure = await failureOf(() => readText(text))
  expect(failure).toMatchObject({ code: 'RESULTS', what: expect.stringContaining('not JSON') })
  expect(failure.evidence[0]).toContain(JSON.stringify(text.slice(0, 10)).slice(1, -1))
})

test('an error of the source itself is passed on: a missing file is not a broken report', async () => {
  async function* missing(): AsyncGenerator<Uint8Array> {
    yield* stream('{"a":')
    throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
  }
  await expect(readReport(missing())).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a key named __proto__ in a hostile report stays a plain key', async () => {
  const report = (await readText('{"__proto__": {"polluted": 1}, "benchmarks": []}')) as Record<string, unknown>
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect(Object.hasOwn(report, '__proto__')).toBe(true)
})
