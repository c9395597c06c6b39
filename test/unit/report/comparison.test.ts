import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type ReportInput, renderComment } from '../../../src/report/comment.ts'
import { renderSummary } from '../../../src/report/summary.ts'
import type { LegDocument } from '../../../src/results/schema.ts'
import { checkLeg } from '../../../src/results/schema.ts'
import { legOf, repeatOf, steady, stepOf } from '../results/legs.ts'
import { begin, offsetMs } from '../timeline/chain.ts'
import { expectGolden } from './golden.ts'
import { baselineLeg, chainFailure, stepsOf, ups, upsAndDowns, wvaLeg, wvaRepeat } from './two-legs.ts'

const key = 'chatbot-synthetic-llama-3-1-8b-0a1b2c'
const links = { run: 'https://github.com/llm-d/llm-d/actions/runs/123' }
const comment = (legs: readonly LegDocument[], change: Partial<ReportInput> = {}) =>
  renderComment({ key, legs, links, expectedLegs: 2, ...change })
const headlineOf = (text: string) => text.split('\n')[1]

const twoRepeats = (rates: readonly number[]) => [wvaRepeat(1, rates), wvaRepeat(2, rates)]
const both = (rates: readonly number[] = ups) => [baselineLeg(rates), wvaLeg(rates, twoRepeats(rates))]
const broke = (seconds: number) => ({
  link: 'metrics' as const,
  at: (begin + seconds) * 1000 - offsetMs,
  why: 'WVA reports MetricsAvailable=False: no series of vllm:kv_cache_usage_perc in the last 5 minutes.',
})
const standupOf = (change: Partial<LegDocument> = {}): LegDocument => ({
  ...wvaLeg(ups, []),
  stage: 'standup',
  ...change,
})

test('golden: both legs done', () => {
  expectGolden('compare-done.md', comment(both()))
})

test('golden: both legs done, in the job summary', () => {
  expectGolden('compare-summary.md', renderSummary({ key, legs: both(), links }))
})

test('golden: rates that go up and down again', () => {
  expectGolden('compare-up-down.md', comment(both(upsAndDowns)))
})

test('golden: the baseline is done, the other leg is stood up', () => {
  expectGolden('compare-one-of-two.md', comment([baselineLeg(ups), standupOf()]))
})

test('golden: an invalid leg under the autoscaler', () => {
  const repeats = [
    wvaRepeat(1, ups),
    wvaRepeat(2, ups, {
      chainBreaks: [broke(132), { ...broke(140), link: 'hpa' }],
      carriedOver: true,
      settled: {
        how: 'reset',
        seconds: 540,
        tries: 3,
        carriedOver: 'WVA still decided 2 replicas after three resets.',
      },
    }),
  ]
  expectGolden('compare-invalid.md', comment([baselineLeg(ups), wvaLeg(ups, repeats)]))
})

test('golden: the autoscaler could not be stood up', () => {
  expectGolden(
    'compare-failed-standup.md',
    comment([
      baselineLeg(ups),
      standupOf({ status: 'failed', failure: chainFailure, timings: { ready: 61, chain: 300 } }),
    ]),
  )
})

test('golden: legs of two models do not stand side by side', () => {
  const other = wvaLeg(ups, twoRepeats(ups))
  other.identity.model = 'Qwen/Qwen3-0.6B'
  expectGolden('compare-other-model.md', comment([baselineLeg(ups), other]))
})

test('the documents of these pages are what the schema allows', () => {
  for (const leg of [...both(upsAndDowns), standupOf()]) expect(checkLeg(leg)).toHaveProperty('leg')
})

test('the headline names both legs, their size, the load, and what share of the offered requests each completed', () => {
  expect(headlineOf(comment(both()))).toBe(
    '### 📏 Baseline (2 replicas) completed 85.4 %, WVA (1 to 10 replicas) 92.4 % of the requests offered at 1 to 4 req/s, 2 repeats each; at 4 req/s 75 % and 87.5 %.',
  )
})

test.each([
  ['a repeat that failed', { status: 'failed' as const }, 'WVA: **1 repeat failed**', '**2 of 2 and 1 of 2 repeats**'],
  ['a repeat that was carried over', { carriedOver: true }, 'WVA: **1 repeat carried over**', '2 repeats each'],
])('the headline names %s', (_what, change, exception, repeats) => {
  const line = headlineOf(comment([baselineLeg(ups), wvaLeg(ups, [wvaRepeat(1, ups), wvaRepeat(2, ups, change)])]))!
  expect(line).toContain(`${repeats}; ${exception}.`)
  expect(line).toMatch(/^### ⚠️/)
})

test('an invalid leg comes first, with link, repeat and second, even where the other leg failed', () => {
  const legs = [
    legOf([], { stage: 'standup', status: 'failed', failure: chainFailure }),
    wvaLeg(ups, [wvaRepeat(1, ups, { chainBreaks: [broke(-12), broke(30)] })]),
  ]
  expect(headlineOf(comment(legs))).toMatch(
    /^### 🚫 WVA leg INVALID: the metrics that WVA reads broke in repeat 1, 12 s before the load began\. Baseline: stand-up failed \(WVA_CHAIN\): /,
  )
})

test('a leg alone that is invalid says so in its headline', () => {
  const text = comment([wvaLeg(ups, [wvaRepeat(1, ups, { chainBreaks: [broke(45)] })])], { expectedLegs: 1 })
  expect(headlineOf(text)).toContain(
    '### 🚫 WVA leg INVALID (the metrics that WVA reads broke in repeat 1, 45 s after the load began), measured: 1 to 10 replicas, 1 to 4 req/s',
  )
  expect(headlineOf(comment([wvaLeg(ups, [wvaRepeat(1, ups, { chainBreaks: [broke(45)] })])]))).toBe(
    '### ⏳ Benchmark running: 1 of 2 legs done (wva INVALID)',
  )
})

test('nothing in a comparison tells which leg is to be preferred, and no difference is computed', () => {
  const text = comment(both(upsAndDowns))
  expect(text).not.toMatch(/better|worse|faster|slower|winner|verdict|improve|regress|→|▲|▼|🟢|🔴|🟡/i)
  expect(text).not.toMatch(/[+−]\d+(?:\.\d+)? %/)
})

test('a table of two legs has three columns and a row per figure and step', () => {
  const rows = comment(both()).split('\n')
  const start = rows.indexOf('| req/s | baseline | WVA |')
  const table = rows.slice(start, rows.indexOf('', start))
  expect(table.filter(row => row.startsWith('| **'))).toHaveLength(5)
  expect(table).toHaveLength(2 + 5 * (1 + 3))
  expect(table.every(row => row.split('|').length === 5)).toBe(true)
  expect(table).toContain('| 4 | 75 % of 960 | 87.5 % of 960 |')
})

test('failed requests have rows of their own as soon as there is one', () => {
  expect(comment(both())).not.toContain('| **Failed** |')
  const steps = stepsOf(
    ups,
    () => 1,
    () => 0,
  )
  steps[1]!.rows.status[0] = 'e'
  const text = comment([baselineLeg(ups), wvaLeg(ups, [wvaRepeat(1, ups, { steps })])])
  expect(text).toContain('| **Failed** |  |  |\n| 1 | 0 | 0 |\n| 2 | 0 | 1 |')
  expect(headlineOf(text)).toContain('WVA: **1 request failed**')
})

test('a rate that comes back is told apart by its direction, and by its position where that does not do', () => {
  expect(comment(both(upsAndDowns))).toMatch(/\| 1 ↑ \|.*\n\| 2 ↑ \|.*\n\| 4 \|.*\n\| 2 ↓ \|.*\n\| 1 ↓ \|/)
  const plateau = [1, 4, 4, 1]
  expect(comment(both(plateau))).toMatch(/\| 1 ↑ \|.*\n\| 4 \(step 2\) \|.*\n\| 4 \(step 3\) \|.*\n\| 1 ↓ \|/)
})

test('a step that one leg did not measure is a dash there', () => {
  const short = wvaLeg(ups, [wvaRepeat(1, ups, { steps: wvaRepeat(1, ups).steps.slice(0, 2) })])
  expect(comment([baselineLeg(ups), short])).toContain('| 4 | 75 % of 960 | – |')
})

test('of more than two legs the first stands in every table, two legs per table', () => {
  const legs = [
    baselineLeg(ups, { leg: 'fixed' }),
    wvaLeg(ups, twoRepeats(ups), { leg: 'wva-b' }),
    wvaLeg(ups, twoRepeats(ups), { leg: 'wva-a' }),
  ]
  const text = comment(legs, { expectedLegs: 3 })
  expect([...text.matchAll(/^\| req\/s \| (\S+) \| (\S+) \|$/gm)].map(m => [m[1], m[2]])).toEqual([
    ['fixed', 'wva-a'],
    ['fixed', 'wva-b'],
  ])
})

test.each([
  ['another seed', (leg: LegDocument) => (leg.identity.workload!.seed = 7), 'seed (42 and 7)'],
  [
    'another length',
    (leg: LegDocument) => (leg.identity.workload!.secondsPerRate = 60),
    'seconds per rate (120 and 60)',
  ],
  ['a simulated cluster', (leg: LegDocument) => Object.assign(leg, { simulated: true }), 'simulated (no and yes)'],
  [
    'another profile',
    (leg: LegDocument) => (leg.identity.workload!.sha256 = 'b2'.repeat(32)),
    'load (chatbot&#95;synthetic a1a1a1a1a1a1 and chatbot&#95;synthetic b2b2b2b2b2b2)',
  ],
  [
    'no load on record',
    (leg: LegDocument) => delete leg.identity.workload,
    'load (chatbot&#95;synthetic a1a1a1a1a1a1 and not recorded)',
  ],
  ['other rates', (leg: LegDocument) => (leg.repeats[0]!.steps[1]!.rate = 3), 'rates (1, 2, 4 and 1, 3, 4)'],
])('a leg with %s stands below, not beside, and the field is named', (_what, change, named) => {
  const other = wvaLeg(ups, [wvaRepeat(1, ups)])
  change(other)
  const text = comment([baselineLeg(ups), other])
  expect(text).toContain(`⚠️ **Not side by side:** baseline and WVA did not measure the same. Different: `)
  expect(text).toContain(named)
  expect(text).not.toContain('| req/s | baseline | WVA |')
  expect([...text.matchAll(/^#### .*measured/gm)]).toHaveLength(2)
})

test('what else differs between legs of one workload is named and does not part them', () => {
  const other = wvaLeg(ups, twoRepeats(ups))
  other.identity.accelerator = { key: 'nvidia.com/gpu.product', value: 'NVIDIA-A100' }
  other.identity.images.vllm = {
    reference: 'ghcr.io/llm-d/llm-d-cuda:v0.4.0',
    imageID: `x@sha256:${'77ab'.repeat(16)}`,
  }
  const text = comment([baselineLeg(ups), other])
  expect(text).toContain('| req/s | baseline | WVA |')
  expect(text).toContain(
    'GPU nodes (nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3 and nvidia.com/gpu.product=NVIDIA-A100), image vllm (sha256:9c1f9c1f9c1f and sha256:77ab77ab77ab)',
  )
})

test('two digests count, two names of one digest do not', () => {
  const other = wvaLeg(ups, twoRepeats(ups))
  other.identity.images.vllm = { ...other.identity.images.vllm!, reference: 'mirror.example/llm-d-cuda:v0.4.0' }
  expect(comment([baselineLeg(ups), other])).not.toContain('More than the replicas differs')
})

test('the reaction of the autoscaler is held against the length of a step', () => {
  const leg = (change: Partial<NonNullable<LegDocument['reaction']>>) => {
    const [, own] = both()
    const reaction = { ...own!.reaction!, ...change }
    return comment([baselineLeg(ups), { ...own!, reaction }])
  }
  expect(leg({})).toContain(
    '⚠️ Expected: WVA needs about 5 m 20 s from saturation to a serving replica (240 s HPA window + 60 s reconcile + 20 s start), longer than a step of 120 s: a replica that one rate asks for serves later ones; `hpa-behavior` with a scale-up window of 30 s would fit.',
  )
  const { windowThatFits: _none, ...without } = both()[1]!.reaction!
  expect(comment([baselineLeg(ups), { ...both()[1]!, reaction: without }])).toContain(
    'no scale-up window would change that',
  )
  expect(leg({ stepSeconds: 600 })).toContain('20 s start), which fits into a step of 600 s.')
})

test('the line over time is of the repeat with the median of mean ready replicas, and says which', () => {
  const repeats = [wvaRepeat(1, ups, {}, 100), wvaRepeat(2, ups, {}, 0), wvaRepeat(3, ups, {}, -20)]
  const text = comment([
    baselineLeg(upsAndDowns),
    wvaLeg(
      upsAndDowns,
      repeats.map(r => ({ ...r, steps: wvaRepeat(1, upsAndDowns).steps })),
    ),
  ])
  expect(text).toContain('Repeat 2, of 3 the one with the median of mean ready replicas (1.')
  expect(text).toMatch(/^ready ▄+[▅-█]+ 2$/m)
  expect(text).toContain('| 2 ↓ | 1–2 / 2 / 2 | 1–2 / 1–2 / 1–2 |')
})

const nasty =
  '@octocat --> </details> <img src=x onerror=1> | ``` #123 [x](https://evil.example) \n\n# big \u202e\x1b[31m'

test('names and reasons made to break a comparison show as what they are', () => {
  const legs = ['a', 'b'].map(name =>
    wvaLeg(
      ups,
      [
        wvaRepeat(1, ups, {
          chainBreaks: [{ ...broke(10), why: nasty }],
          settled: { how: 'reset', seconds: 1, tries: 1, carriedOver: nasty },
        }),
      ],
      { leg: `${name} ${nasty}` },
    ),
  )
  Object.assign(legs[1]!.identity, {
    wvaVersion: nasty,
    hpaBehavior: nasty,
    guidellmVersion: nasty,
    images: { [nasty]: { reference: nasty } },
  })
  Object.assign(legs[0]!.identity, { images: { [nasty]: { reference: 'x' } } })
  for (const text of [comment(legs), renderSummary({ key, legs, links: {} })]) {
    // Nothing acts in a fenced block or in a code span: a run of backticks ends at the next run of its length.
    const outside = text.replace(/^(`{3,})text\n[\s\S]*?\n\1$/gm, '').replace(/(?<!`)(`+)(?!`).*?[^`]\1(?!`)/g, '')
    expect(outside).not.toMatch(/<img|@(?!\u200b)octocat|#123|https:\/\/evil|\[x\]/)
    expect(text).not.toMatch(/^# big/m)
    expect(text).not.toMatch(/[\u202e\x1b]/)
    expect(outside.split('<details>')).toHaveLength(outside.split('</details>').length)
  }
})

test('the order in which the documents of two legs arrive does not change a byte', () => {
  const documents = [...both(), standupOf(), legOf([], { stage: 'teardown', leg: 'wva' })]
  const texts = new Set(
    fc.sample(fc.shuffledSubarray(documents, { minLength: documents.length }), 10).map(legs => comment(legs)),
  )
  expect(texts.size).toBe(1)
  expect([...texts][0]).toContain('| req/s | baseline | WVA |')
})

test('huge legs stay below 60,000 bytes and keep headline and main table', () => {
  const long = '<|@'.repeat(6000)
  const rates = Array.from({ length: 64 }, (_, i) => i + 1)
  const steps = rates.map((rate, index) =>
    stepOf(steady(10, 1), { index, rate, seconds: 10 / rate, begin: begin + 10 * index }),
  )
  const failure = {
    ...chainFailure,
    what: long,
    why: long,
    next: long,
    evidence: Array.from({ length: 500 }, () => long),
  }
  const legs = Array.from({ length: 10 }, (_, i) => {
    const repeats = Array.from({ length: 12 }, (_unused, r) =>
      repeatOf(r + 1, steps, {
        carriedOver: true,
        chainBreaks: Array.from({ length: 50 }, () => ({ ...broke(5), why: long })),
        settled: { how: 'reset', seconds: 1, tries: 1, carriedOver: long },
        ...(r > 5 ? { status: 'failed' as const, failure } : {}),
      }),
    )
    return { ...wvaLeg(ups, repeats, { leg: `${i}${'|日'.repeat(140)}`, status: 'failed', failure }) }
  })
  const text = comment(legs, { expectedLegs: 10 })
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(60_000)
  expect(headlineOf(text)).toMatch(/^### 🚫 Leg 0/)
  expect(text.match(/^\| req\/s \|/gm)?.length).toBeGreaterThanOrEqual(1)
  expect(text).toContain('| **Replicas ready** |')
  expect(text).toContain('Left out because a comment is limited')
  expect(text).toContain('[workflow run](')
})

test('what only the stand-up knows of the autoscaler is shown with the figures of the run', () => {
  const run = wvaLeg(ups, twoRepeats(ups))
  const { maxReplicas: _max, wvaVersion: _version, ...identity } = run.identity
  const text = comment([baselineLeg(ups), { ...run, identity }, standupOf()])
  expect(text).toContain('- at most 10 replicas, controller `0.4.2`')
  expect(headlineOf(text)).toContain('WVA (1 to 10 replicas)')
})
