import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { checkLeg, failureRecord, type LegDocument, legJsonSchema } from '../../../src/results/schema.ts'
import { summariseLeg } from '../../../src/results/summarise.ts'
import { parsed } from '../harness/fixture.ts'
import { legOf, repeatOf, steady, stepOf } from './legs.ts'

const round = (leg: LegDocument) => checkLeg(JSON.parse(JSON.stringify(leg)))
const problemsOf = (leg: unknown): readonly string[] => {
  const checked = checkLeg(leg)
  return 'problems' in checked ? checked.problems : []
}

test('a leg made from real reports is valid, and read back it gives the same figures', async () => {
  for (const name of ['0.4.0', '0.5', '0.6', '0.7', 'saturated', 'all failed'] as const) {
    const leg = legOf([repeatOf(1, (await parsed(name)).steps)])
    const checked = round(leg)
    if ('problems' in checked) throw new Error(checked.problems.join('\n'))
    expect(checked.leg).toEqual(leg)
    expect(summariseLeg(checked.leg)).toEqual(summariseLeg(leg))
  }
})

test('a leg without figures is valid at every stage and in every state', () => {
  const failure = failureRecord({ code: 'IMAGE_PULL', what: 'w', why: 'y', next: 'n', evidence: ['e'] })
  const bare = { model: 'm', namespace: 'n', wva: false, images: {} }
  for (const stage of ['standup', 'run', 'teardown'] as const) {
    expect(problemsOf(legOf([], { stage, status: 'failed', failure, identity: bare, run: {}, timings: {} }))).toEqual(
      [],
    )
    expect(problemsOf(legOf([], { stage, status: 'cancelled', identity: bare }))).toEqual([])
  }
})

test.each<[string, (leg: LegDocument) => unknown, string]>([
  ['an unknown field', leg => ({ ...leg, extra: 1 }), '/extra'],
  ['another version', leg => ({ ...leg, schemaVersion: 2 }), '/schemaVersion'],
  ['a missing field', ({ repeats: _repeats, ...leg }) => leg, '/repeats'],
  ['a stage that does not exist', leg => ({ ...leg, stage: 'compare' }), '/stage'],
  ['a text longer than any', leg => ({ ...leg, leftovers: ['x'.repeat(30_000)] }), '/leftovers/0'],
  ['an attempt of 0', leg => ({ ...leg, attempt: 0 }), '/attempt'],
  ['a date that is none', leg => ({ ...leg, createdAt: '<script>' }), '/createdAt'],
  ['a negative time', leg => ({ ...leg, timings: { load: -1 } }), '/timings/load'],
  [
    'a failure code that does not exist',
    leg => ({ ...leg, failure: { code: 'EVIL', what: '', why: '', next: '', evidence: [] } }),
    '/failure/code',
  ],
  ['a rate of 0', leg => ({ ...leg, repeats: [repeatOf(1, [stepOf([], { rate: 0 })])] }), '/repeats/0/steps/0/rate'],
  [
    'a status that does not exist',
    leg => ({ ...leg, repeats: [repeatOf(1, [stepOf([{ scheduled: 1, status: 'x' as 'c' }])])] }),
    '/repeats/0/steps/0/rows/status/0',
  ],
  [
    'a hash that is none',
    leg =>
      Object.assign(structuredClone(leg), {
        repeats: [repeatOf(1, [{ ...stepOf([]), rows: { ...stepOf([]).rows, promptHash: ['@everyone'] } }])],
      }),
    '/repeats/0/steps/0/rows/promptHash/0',
  ],
  [
    'columns of unequal length',
    leg =>
      Object.assign(structuredClone(leg), {
        repeats: [repeatOf(1, [{ ...stepOf([]), rows: { ...stepOf([]).rows, sent: [1] } }])],
      }),
    'rows/sent: 1 entries, not 0',
  ],
  [
    'a repeat that occurs twice',
    leg => ({ ...leg, repeats: [repeatOf(1, []), repeatOf(1, [])] }),
    'repeat 1 occurs twice',
  ],
  [
    'an event of another kind',
    leg => ({
      ...leg,
      repeats: [repeatOf(1, [], { events: [{ at: 1, kind: 'Node', type: 'ADDED', name: 'n' } as never] })],
    }),
    '/repeats/0/events/0',
  ],
  ['no object', () => null, '/'],
  ['a list', () => [], '/'],
])('%s is a problem, with its place', (_name, change, place) => {
  const problems = problemsOf(change(legOf([repeatOf(1, [stepOf(steady(3, 1))])])))
  expect(problems.join('\n')).toContain(place)
})

test('whatever is checked, the check returns, and lists at most 20 problems', () => {
  fc.assert(
    fc.property(fc.anything(), value => {
      expect(problemsOf(value).length).toBeGreaterThan(0)
      expect(problemsOf(value).length).toBeLessThanOrEqual(20)
    }),
  )
  expect(problemsOf({ ...legOf([]), leftovers: Array.from({ length: 500 }, (_, i) => i) })).toHaveLength(20)
})

test('a failure is cut to what a leg takes', () => {
  const failure = failureRecord({
    code: 'HARNESS',
    what: 'x'.repeat(1e6),
    why: '',
    next: '',
    evidence: Array.from({ length: 5000 }, () => 'y'.repeat(50_000)),
  })
  expect(problemsOf(legOf([], { failure }))).toEqual([])
})

test('the JSON Schema is plain JSON, closed, and names every field of a leg', () => {
  expect(JSON.parse(JSON.stringify(legJsonSchema))).toEqual(legJsonSchema)
  expect(legJsonSchema).toMatchObject({ type: 'object', additionalProperties: false })
  expect(Object.keys(legJsonSchema.properties as object)).toEqual(expect.arrayContaining(Object.keys(legOf([]))))
})
