import { expect, test } from '@jest/globals'
import { peakInFlight, shortfallOf } from '../../../src/results/client.ts'
import { readyReplicas } from '../../../src/results/replicas.ts'
import type { WatchEvent } from '../../../src/results/schema.ts'
import { summariseLeg } from '../../../src/results/summarise.ts'
import { parsed } from '../harness/fixture.ts'
import { legOf, repeatOf, steady, stepOf } from './legs.ts'

test('B73: counts are summed over repeats, with n, and a failed repeat is in none of them', () => {
  const repeats = [
    repeatOf(1, [stepOf(steady(10, 1))]),
    repeatOf(2, [stepOf(steady(8, 1))]),
    repeatOf(3, [stepOf(steady(10, 1))], { status: 'failed' }),
  ]
  const { steps, done, failed } = summariseLeg(legOf(repeats))
  expect([done.length, failed.map(r => r.index)]).toEqual([2, [3]])
  expect(steps).toHaveLength(1)
  expect(steps[0]).toMatchObject({ n: 2, rate: 1, values: { offered: 20, scheduled: 18, completed: 18 } })
  expect(steps[0]!.perRepeat.map(r => [r.repeat, r.values.completed])).toEqual([
    [1, 10],
    [2, 8],
  ])
})

test('percentiles are over the requests of all repeats, one weight per request', () => {
  const slow = stepOf(steady(2, 1, 3))
  const fast = stepOf(steady(8, 1, 1))
  const [step] = summariseLeg(legOf([repeatOf(1, [slow]), repeatOf(2, [fast])])).steps
  expect(step!.values['latency-p50']).toBeCloseTo(1, 9)
  expect(step!.values['latency-p95']).toBeCloseTo(3, 9)
  expect(step!.perRepeat.map(r => r.values['latency-p50']!.toFixed(3))).toEqual(['3.000', '1.000'])
})

test('pods that load at once add up to the rate; repeats do not', () => {
  const pods = [stepOf(steady(10, 1)), stepOf(steady(9, 1))]
  const [step] = summariseLeg(legOf([repeatOf(1, pods), repeatOf(2, pods)])).steps
  expect(step).toMatchObject({ rate: 2, n: 2, values: { offered: 40, completed: 38 } })
  expect(step!.values['output-rate']).toBeCloseTo((38 * 11) / 20, 9)
  expect(step!.perRepeat[0]!.values.offered).toBe(20)
})

test('a rate that occurs twice in a profile is two steps', () => {
  const repeat = repeatOf(1, [
    stepOf(steady(10, 1)),
    stepOf(steady(20, 2), { index: 1, rate: 2 }),
    stepOf(steady(9, 1), { index: 2 }),
  ])
  expect(summariseLeg(legOf([repeat])).steps.map(s => [s.index, s.rate, s.values.completed])).toEqual([
    [0, 1, 10],
    [1, 2, 20],
    [2, 1, 9],
  ])
})

test('the counts of a leg from real reports are those of the records in them', async () => {
  const { steps } = await parsed('saturated')
  const summary = summariseLeg(legOf([repeatOf(1, steps), repeatOf(2, steps)]))
  expect(summary.steps.map(s => [s.values.offered, s.values.completed, s.values.incomplete, s.values.errored])).toEqual(
    [
      [20, 18, 2, 0],
      [40, 36, 4, 0],
      [80, 62, 18, 0],
      [160, 62, 98, 0],
    ],
  )
})

test('a shortfall below the in-flight limit is the client; at the limit it is the server; two requests are nobody', () => {
  expect(shortfallOf(stepOf(steady(10, 1)))).toBe('none')
  expect(shortfallOf(stepOf(steady(8, 1)))).toBe('none')
  expect(shortfallOf(stepOf(steady(7, 1)))).toBe('client saturated')
  const held = Array.from({ length: 7 }, (_, i) => ({ scheduled: i + 1, sent: i + 1, status: 'i' as const }))
  expect(shortfallOf(stepOf(held, { maxConcurrency: 7 }))).toBe('unsent')
  expect(shortfallOf(stepOf(held, { maxConcurrency: 8 }))).toBe('client saturated')
  expect(shortfallOf(stepOf([], { sampled: true }))).toBe('none')
})

test('in flight: a slot that is handed on at once is one, and a cut-off request holds its slot to the end', () => {
  expect(
    peakInFlight(
      stepOf([
        { scheduled: 1, end: 2 },
        { scheduled: 2, end: 3 },
      ]),
    ),
  ).toBe(1)
  expect(
    peakInFlight(
      stepOf([
        { scheduled: 1, status: 'i' },
        { scheduled: 9, end: 9.5 },
      ]),
    ),
  ).toBe(2)
  expect(peakInFlight(stepOf([{ scheduled: 1, sent: null }]))).toBe(0)
})

const deployment = (
  seconds: number,
  ready: number,
  type: 'ADDED' | 'MODIFIED' | 'DELETED' = 'MODIFIED',
): WatchEvent => ({
  at: seconds * 1000,
  kind: 'Deployment',
  type,
  name: 'decode',
  desired: 4,
  replicas: 4,
  ready,
})

test('ready replicas are a time-weighted mean with its extremes, on the harness clock', () => {
  const events = [deployment(90, 1), deployment(105, 2), deployment(108, 4)]
  expect(readyReplicas({ events }, 100, 110)).toEqual({ mean: (5 * 1 + 3 * 2 + 2 * 4) / 10, min: 1, max: 4 })
  expect(readyReplicas({ events, clockOffsetMs: 1000 }, 101, 111)).toEqual({ mean: 1.9, min: 1, max: 4 })
})

test('before the first event nothing is known, which is not 0', () => {
  expect(readyReplicas({ events: [deployment(105, 2)] }, 100, 104)).toBeNull()
  expect(readyReplicas({ events: [] }, 100, 110)).toBeNull()
  expect(readyReplicas({ events: [deployment(105, 2)] }, 100, 110)).toEqual({ mean: 2, min: 2, max: 2 })
  expect(readyReplicas({ events: [deployment(90, 2), deployment(105, 2, 'DELETED')] }, 100, 110)).toEqual({
    mean: 1,
    min: 0,
    max: 2,
  })
})
