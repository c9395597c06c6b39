import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { measure, metrics } from '../../../src/results/metrics.ts'
import { quantile } from '../../../src/results/quantile.ts'
import { type Request, rowsOf, steady } from './legs.ts'

const of = (requests: readonly Request[], rate = 1, seconds = 10) =>
  measure({ rate, seconds, repeats: 1, rows: [rowsOf(requests)], sampled: false })

test('ids are unique and every metric has a label', () => {
  expect(new Set(metrics.map(m => m.id)).size).toBe(metrics.length)
  for (const metric of metrics) expect(metric.label).not.toBe('')
})

test('offered, scheduled, completed, incomplete and errored are counted apart', () => {
  const requests: Request[] = [
    ...steady(4, 1),
    { scheduled: 5, status: 'i' },
    { scheduled: 6, status: 'i', firstToken: 6.5 },
    { scheduled: 7, status: 'e', end: 7.1 },
  ]
  expect(of(requests)).toMatchObject({ offered: 10, scheduled: 7, completed: 4, incomplete: 2, errored: 1 })
})

test('TTFT counts from the send, not from the schedule', () => {
  expect(of([{ scheduled: 1, sent: 1.5, firstToken: 1.75, end: 2 }])['ttft-p50']).toBeCloseTo(250, 6)
})

test('request latency is in seconds from the send to the end', () => {
  expect(of([{ scheduled: 1, sent: 1.5, firstToken: 1.6, end: 4 }])).toMatchObject({
    'latency-p50': 2.5,
    'latency-p95': 2.5,
  })
})

test('a percentile is a value that occurred, the smallest at or below which that share lies', () => {
  const requests = [10, 20, 30, 40].map((ms, i) => ({ scheduled: i, firstToken: i + ms / 1000, end: i + 1, itlMs: ms }))
  expect(of(requests)).toMatchObject({ 'itl-p50': 20, 'itl-p95': 40 })
  expect(quantile([1, 2, 3], 0.5)).toBe(2)
  expect(
    quantile(
      Array.from({ length: 20 }, (_, i) => i + 1),
      0.95,
    ),
  ).toBe(19)
  expect(
    quantile(
      Array.from({ length: 21 }, (_, i) => i + 1),
      0.95,
    ),
  ).toBe(20)
})

test('a request that was cut off after its first token is in no percentile', () => {
  const cut: Request = { scheduled: 1, status: 'i', firstToken: 1.9, lastToken: 2, itlMs: 70, outputTokens: 5 }
  const failed: Request = { scheduled: 1, status: 'e', firstToken: 1.8, end: 9, itlMs: 80 }
  const values = of([cut, failed, ...steady(3, 1), cut])
  expect(values['ttft-p95']).toBeCloseTo(100, 6)
  expect(values['itl-p95']).toBeCloseTo(40, 6)
  expect(values['latency-p95']).toBeCloseTo(0.5, 6)
})

test('every request has one weight in ITL, whatever its length', () => {
  expect(
    of([
      { scheduled: 1, itlMs: 5, outputTokens: 3 },
      { scheduled: 2, itlMs: 6, outputTokens: 3 },
      { scheduled: 3, itlMs: 20, outputTokens: 101 },
    ])['itl-p50'],
  ).toBe(6)
})

test('output tokens per second are those of completed requests over the length of the step', () => {
  expect(of([...steady(5, 1, 0.5, 40), { scheduled: 6, status: 'i', outputTokens: 1000 }], 1, 10)['output-rate']).toBe(
    20,
  )
})

test('no data is null in every latency, and a step that served nobody has 0 tokens per second', () => {
  const none = of([
    { scheduled: 1, status: 'i' },
    { scheduled: 2, status: 'e' },
  ])
  for (const metric of metrics.filter(m => m.completedOnly))
    expect({ id: metric.id, value: none[metric.id] }).toEqual({ id: metric.id, value: null })
  expect(none['output-rate']).toBe(0)
})

test('a sampled report has no counts and no percentiles, only what was offered', () => {
  const values = measure({ rate: 2, seconds: 10, repeats: 1, rows: [rowsOf(steady(3, 1))], sampled: true })
  expect(Object.entries(values).filter(([, v]) => v !== null)).toEqual([['offered', 20]])
})

test('a quantile lies in the data and does not fall as the share rises', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, p, q) => {
        const [low, high] = [quantile(values, Math.min(p, q))!, quantile(values, Math.max(p, q))!]
        expect(values).toContain(low)
        expect(low).toBeLessThanOrEqual(high)
      },
    ),
  )
})
