import { beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { marker, type ReportInput, renderComment } from '../../../src/report/comment.ts'
import { failureEvidence, failureText } from '../../../src/report/failure.ts'
import { renderSummary } from '../../../src/report/summary.ts'
import type { FailureRecord, LegDocument, Step } from '../../../src/results/schema.ts'
import { parsed } from '../harness/fixture.ts'
import { legOf, repeatOf, steady, stepOf } from '../results/legs.ts'
import { expectGolden } from './golden.ts'

const key = 'chatbot-synthetic-llama-3-1-8b-0a1b2c'
const links = {
  run: 'https://github.com/llm-d/llm-d/actions/runs/123',
  results: { baseline: 'https://github.com/llm-d/llm-d/actions/runs/123/artifacts/9' },
}
const comment = (legs: LegDocument[], change: Partial<ReportInput> = {}) =>
  renderComment({ key, legs, links, ...change })
const teardown = (change: Partial<LegDocument> = {}): LegDocument =>
  legOf([], {
    stage: 'teardown',
    createdAt: '2026-11-24T13:00:00.000Z',
    timings: { delete: 31.4 },
    kept: ['PersistentVolumeClaim llm-d-bench/model-pvc', 'Secret llm-d-bench/llm-d-hf-token'],
    ...change,
  })

const imagePull: FailureRecord = {
  code: 'IMAGE_PULL',
  what: 'The image of container vllm cannot be pulled.',
  why: 'The registry answers: manifest unknown.',
  next: 'Check the image reference and tag of the input vllm-image.',
  evidence: [
    'Warning Failed pod/decode-0: Failed to pull image "ghcr.io/llm-d/llm-d-cuda:v9"',
    'Warning BackOff pod/decode-0: Back-off pulling image',
  ],
}
const harnessFailure: FailureRecord = {
  code: 'HARNESS',
  what: 'guidellm ended with exit code 3 in pod llmdbench-guidellm-launcher-1-of-1-0a1b2c3d4e-r2.',
  why: 'See its last lines below.',
  next: 'The complete stdout.log and stderr.log are in the results artifact.',
  evidence: ['last lines of stderr.log:', 'httpx.ConnectError: All connection attempts failed'],
}

let ok: Step[]
let saturated: Step[]
beforeAll(async () => {
  ok = (await parsed('0.5')).steps
  saturated = (await parsed('saturated')).steps
})
/** The leg says how many repeats were asked for. */
const asked = (repeats: number): LegDocument['identity'] => {
  const { identity } = legOf([])
  return { ...identity, workload: { ...identity.workload!, repeats } }
}
const measured = (change: Partial<LegDocument> = {}) => legOf([repeatOf(1, ok), repeatOf(2, ok)], change)

test('golden: a baseline leg of two repeats, torn down', () => {
  expectGolden('comment-done.md', comment([measured(), teardown()]))
})

test('golden: a saturated baseline', () => {
  expectGolden('comment-saturated.md', comment([legOf([repeatOf(1, saturated)], { identity: asked(1) })]))
})

test('golden: a standup that failed', () => {
  expectGolden(
    'comment-failed-standup.md',
    comment([
      legOf([], { stage: 'standup', status: 'failed', failure: imagePull, timings: { preflight: 3.2, ready: 61 } }),
    ]),
  )
})

test('golden: one of three repeats failed', () => {
  const repeats = [
    repeatOf(1, ok),
    repeatOf(2, [], { status: 'failed', exitCode: 3, failure: harnessFailure }),
    repeatOf(3, ok),
  ]
  expectGolden(
    'comment-failed-repeat.md',
    comment([
      legOf(repeats, {
        status: 'failed',
        identity: asked(3),
        failure: { ...harnessFailure, what: `1 of 3 repeats failed. First: ${harnessFailure.what}` },
      }),
    ]),
  )
})

test('golden: a simulated cluster', () => {
  expectGolden('comment-simulated.md', comment([measured({ simulated: true })]))
})

const nasty =
  '@octocat --> </details> <img src=x onerror=1> | ``` #123 [x](https://evil.example) \n\n# big \u202e\x1b[31m'
test('golden: names and messages made to break the comment', () => {
  const hostile = legOf(
    [
      repeatOf(1, ok, { images: {} }),
      repeatOf(2, [], {
        status: 'failed',
        failure: { code: 'HARNESS', what: nasty, why: nasty, next: nasty, evidence: [nasty, '```', '~~~'] },
      }),
    ],
    {
      status: 'failed',
      leg: `leg ${nasty}`,
      failure: { code: 'HARNESS', what: nasty, why: nasty, next: nasty, evidence: [nasty, '```', '````'] },
      timings: { [nasty]: 1 },
      kept: [nasty],
    },
  )
  Object.assign(hostile.identity, {
    model: nasty,
    namespace: nasty,
    release: nasty,
    wellLitPath: nasty,
    images: { [nasty]: { reference: nasty, imageID: nasty } },
    accelerator: { key: nasty, value: nasty },
    guidellmVersion: nasty,
  })
  hostile.run = { url: nasty, sha: nasty }
  const text = comment([hostile, teardown({ leg: 'other', leftovers: [nasty], status: 'failed' })], {
    links: { run: nasty, results: { [nasty]: nasty } },
  })
  expectGolden('comment-hostile.md', text)
})

test('the first line is the marker, the second the headline', () => {
  const [first, second] = comment([measured()]).split('\n')
  expect(first).toBe(`<!-- llm-d-bench key="${key}" v1 -->`)
  expect(second).toBe(
    '### 📏 Baseline measured: 2 replicas, 1 to 8 req/s, 2 repeats; 90.8 % of 240 offered requests completed',
  )
  expect(marker('a"--><b>')).toBe('<!-- llm-d-bench key="a-----b-" v1 -->')
})

test('the order in which documents arrive does not change a byte', () => {
  const documents = [
    measured(),
    teardown(),
    measured({ leg: 'wva' }),
    legOf([], { leg: 'third', stage: 'standup', status: 'failed', failure: imagePull }),
    measured({ attempt: 2 }),
  ]
  const texts = new Set(
    fc.sample(fc.shuffledSubarray(documents, { minLength: documents.length }), 20).map(legs => comment(legs)),
  )
  expect(texts.size).toBe(1)
})

test('of one leg and stage the newest attempt wins', () => {
  const text = comment([measured(), legOf([repeatOf(1, saturated)], { attempt: 2 })])
  expect(text).toContain('of 150 offered requests completed')
  expect(text).toContain('| Attempt of the workflow run | 2 |')
})

test('a standup that failed in a later attempt is the headline; the figures of the earlier one stay', () => {
  const text = comment([measured(), legOf([], { stage: 'standup', attempt: 2, status: 'failed', failure: imagePull })])
  expect(text.split('\n')[1]).toBe(
    '### ❌ Baseline: stand-up failed (IMAGE_PULL): The image of container vllm cannot be pulled.',
  )
  expect(text).toContain('| Completed | 14 | 28 | 58 | 118 |')
})

test('a run after a standup that had failed in an earlier attempt is not overshadowed by it', () => {
  const text = comment([
    legOf([], { stage: 'standup', status: 'failed', failure: imagePull }),
    measured({ attempt: 2 }),
  ])
  expect(text.split('\n')[1]).toContain('Baseline measured')
  expect(text).not.toContain('IMAGE_PULL')
})

test('a cancelled run without a repeat says that it was cancelled', () => {
  expect(comment([legOf([], { status: 'cancelled' })]).split('\n')[1]).toBe('### ⏹️ Baseline: run was cancelled')
})

test('a run that was cancelled between repeats shows the finished ones and says so', () => {
  const text = comment([legOf([repeatOf(1, ok)], { status: 'cancelled', identity: asked(4) })])
  expect(text.split('\n')[1]).toBe(
    '### ⏹️ Baseline measured until it was cancelled: 2 replicas, 1 to 8 req/s, **1 of 4 repeats**; 90.8 % of 120 offered requests completed',
  )
})

test('legs that are still to come are announced', () => {
  expect(comment([measured()], { expectedLegs: 2 }).split('\n')[1]).toBe(
    '### ⏳ Benchmark running: 1 of 2 legs done (baseline)',
  )
  expect(comment([], { expectedLegs: 2 }).split('\n')[1]).toBe('### ⏳ Benchmark running: 0 of 2 legs done')
})

test('legs of one workload share a table and there is no verdict', () => {
  const text = comment([measured({ leg: 'replicas-4' }), measured({ leg: 'replicas-2' })])
  expect(text.split('\n')[1]).toBe(
    '### 📏 replicas-2 (2 replicas) completed 90.8 %, replicas-4 (2 replicas) 90.8 % of the requests offered at 1 to 8 req/s, 2 repeats each; at 1 req/s 87.5 % and 87.5 %.',
  )
  expect(text).toContain('| req/s | replicas-2 | replicas-4 |')
  expect(text).not.toMatch(/better|worse|verdict/i)
})

test('a teardown that left something behind is told without hiding the figures', () => {
  const text = comment([
    measured(),
    teardown({
      status: 'failed',
      leftovers: ['Deployment llm-d-bench/decode'],
      failure: { ...imagePull, code: 'LEFTOVERS', what: '1 object(s) of the stack are still there.' },
    }),
  ])
  expect(text).toContain('⚠️ **Teardown failed.** `LEFTOVERS` 1 object(s) of the stack are still there.')
  expect(text).toContain('Left on the cluster: `Deployment llm-d-bench/decode`')
  expect(text.split('\n')[1]).toContain('Baseline measured')
})

test('no data is a dash in the table, never 0', async () => {
  const text = comment([legOf([repeatOf(1, (await parsed('all failed')).steps)])])
  expect(text).toContain('| TTFT p50, ms (completed only) | – | – |')
  expect(text).toContain('| Errored | 5 | 23 |')
  expect(text.split('\n')[1]).toContain('0 % of 30 offered requests completed, **28 failed**')
})

test('a client that could not keep up is named, with its repeats', () => {
  const steps = [stepOf(steady(10, 1)), stepOf(steady(12, 2), { index: 1, rate: 2, sendLagP99Ms: 80 })]
  const text = comment([
    legOf([repeatOf(1, steps), repeatOf(2, [steps[0]!, stepOf(steady(20, 2), { index: 1, rate: 2 })])]),
  ])
  expect(text).toContain('⚠️ 2 req/s, repeat 1: **client saturated**.')
  expect(text).toContain('⚠️ 2 req/s, repeat 1: requests were sent more than 50 ms late')
  expect(text).toContain('| Offered | 20 | 40 (32 scheduled) |')
})

test('of many rates the first and the last are visible and all are folded', () => {
  const steps = Array.from({ length: 12 }, (_, i) =>
    stepOf(steady(10, 1), { index: i, rate: i + 1, seconds: 10 / (i + 1) }),
  )
  const text = comment([legOf([repeatOf(1, steps)])])
  expect(text).toContain('| baseline | 1 req/s | 2 req/s | 3 req/s | 10 req/s | 11 req/s | 12 req/s |')
  expect(text).toContain('<details><summary>All 12 steps</summary>')
  expect(text).toContain('| 7 req/s | 10 |')
})

test('a replica count that changed is shown as mean and range', () => {
  const begin = ok[0]!.begin
  const events = [0, 4].map((seconds, i) => ({
    at: (begin + seconds) * 1000,
    kind: 'Deployment' as const,
    type: 'MODIFIED' as const,
    name: 'd',
    desired: 2,
    replicas: 2,
    ready: i + 1,
  }))
  expect(comment([legOf([repeatOf(1, ok, { events })])])).toContain(
    '| Replicas ready, mean (min–max) | 1.50 (1–2) | 2 | 2 | 2 |',
  )
})

test('however much there is to say, the comment stays below 60,000 bytes and says what it left out', () => {
  const evidence = Array.from({ length: 500 }, (_, i) => `${i} 日本 ${'`'.repeat(i % 7)}${'x'.repeat(400)}`)
  const steps = Array.from({ length: 64 }, (_, i) =>
    stepOf(steady(10, 1), { index: i, rate: i + 1, seconds: 10 / (i + 1) }),
  )
  const legs = Array.from({ length: 12 }, (_, i) =>
    legOf(
      [
        ...Array.from({ length: 20 }, (_unused, r) => repeatOf(r + 1, steps)),
        repeatOf(21, [], { status: 'failed', failure: { ...harnessFailure, what: '|'.repeat(5000) } }),
      ],
      {
        leg: `leg-${i}-${'日'.repeat(200)}`,
        status: 'failed',
        failure: {
          code: 'HARNESS',
          what: '<'.repeat(20_000),
          why: '@'.repeat(20_000),
          next: '日'.repeat(20_000),
          evidence,
        },
      },
    ),
  )
  const text = comment(legs)
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(60_000)
  expect([text.includes('Left out because a comment is limited'), text.includes('and 4 more legs')]).toEqual([
    true,
    true,
  ])
  expect([0, 1, 10, 11].filter(leg => text.includes(`| leg-${leg}-`))).toEqual([0, 1, 10, 11])
  expect(renderSummary({ key, legs, links }).length).toBeGreaterThan(text.length)
})

test('whatever a failure says, it can neither mention anybody nor leave its place', () => {
  fc.assert(
    fc.property(
      fc
        .array(fc.oneof(fc.string(), fc.constantFrom(nasty, '```', '@a', '\n\n', '</details>')), { maxLength: 6 })
        .map(p => p.join('')),
      text => {
        const failure: FailureRecord = { code: 'SMOKE', what: text, why: text, next: text, evidence: [text] }
        expect(failureText(failure).split('\n')).toHaveLength(1)
        expect(failureText(failure)).not.toMatch(/[<>]|@(?!\u200b)/)
        const block = failureEvidence(failure)!.split('\n')
        expect(block.slice(0, 2)).toEqual(['<details><summary>Evidence: 1 line of events and logs</summary>', ''])
        expect(block.at(-1)).toBe('</details>')
        expect(block.at(-2)).toBe(block[2]!.replace('text', ''))
      },
    ),
  )
})

test('the summary has no marker and shows every repeat', () => {
  const text = renderSummary({ key, legs: [measured()], links })
  expect(text).not.toContain('<!--')
  expect(text).toContain('#### Every repeat')
  expect(text).toContain('| 8 req/s | 2 | 64 | 59 | 5 | 0 |')
})
