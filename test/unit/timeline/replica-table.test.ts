import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { WatchEvent } from '../../../src/results/schema.ts'
import { replicaChanges, secondsOf } from '../../../src/timeline/replica-states.ts'
import { replicaCsv, replicaTable } from '../../../src/timeline/replica-table.ts'
import { overTime, stepReplicas } from '../../../src/timeline/step-replicas.ts'
import { expectGolden } from '../report/golden.ts'
import { stepOf } from '../results/legs.ts'
import { at, begin, deployment, metric, pod, scaled, scrape, stepsAt, wva } from './chain.ts'

const states = (events: readonly WatchEvent[]) =>
  replicaChanges(scaled(1, { events: [...events] })).map(({ seconds, state }) => ({
    seconds: Number(seconds.toFixed(3)),
    ...state,
  }))

test('golden: a scale-up and a scale-down, as a person reads it', () => {
  expectGolden('replicas.txt', replicaTable(scaled(3)))
})

test('golden: the same for a program', () => {
  expectGolden('replicas.csv', replicaCsv(scaled(3)))
})

test('a state changes at the receipt time on the harness clock, seconds after the load began', () => {
  const event = at(12.5, wva(3))
  expect(states([event])).toEqual([{ seconds: 12.5, wva: 3 }])
  expect(event.at / 1000).toBeCloseTo(begin + 12.25)
  expect(secondsOf(scaled(1), event.at)).toBeCloseTo(12.5)
})

test('what repeats a state, or follows within the same millisecond, is no change of its own', () => {
  const events = [at(1, wva(1)), at(2, wva(1)), at(3, wva(2)), at(3, metric(2)), at(4, metric(2))]
  expect(states(events)).toEqual([
    { seconds: 1, wva: 1 },
    { seconds: 3, wva: 2, metric: 2 },
  ])
})

test('events out of order are put into order', () => {
  expect(states([at(5, wva(2)), at(1, wva(1))]).map(s => s.wva)).toEqual([1, 2])
})

test('a pod is scheduled from its node on until it is gone, and ready until it terminates', () => {
  const life = (['pending', 'bound', 'ready', 'going', 'gone'] as const).map((state, i) => at(i, pod('a', state)))
  expect(states(life).map(({ scheduled, ready }) => [scheduled, ready])).toEqual([
    [0, 0],
    [1, 0],
    [1, 1],
    [1, 0],
    [0, 0],
  ])
  const failed = { ...pod('a', 'ready'), phase: 'Failed' }
  expect(states([at(0, pod('a', 'ready')), at(1, failed)]).at(-1)).toMatchObject({ scheduled: 0, ready: 0 })
})

test('the Deployment says what is ready only where no pod was watched', () => {
  expect(states([at(0, deployment(3, 2))])).toEqual([{ seconds: 0, deployment: 3, ready: 2 }])
  expect(states([at(0, deployment(3, 2)), at(1, pod('a', 'ready'))]).map(s => s.ready)).toEqual([undefined, 1])
})

test('waiting is the sum over the last scrapes of pods that still exist', () => {
  const events = [
    at(0, pod('a', 'ready')),
    at(0, pod('b', 'ready')),
    at(1, scrape('a', 4)),
    at(2, scrape('b', 3)),
    at(3, scrape('a', 1)),
    at(4, pod('b', 'gone')),
    at(5, scrape('b', 9)),
  ]
  expect(states(events).map(s => s.waiting)).toEqual([undefined, 4, 7, 4, 1])
})

test('a decision that was deleted is not known any more; a metric that is not served is said so', () => {
  const gone = { ...at(2, wva(2)), type: 'DELETED' } as WatchEvent
  const all = scaled(1, { events: [at(1, wva(2)), at(1, metric(2)), gone, at(3, metric(null))] })
  expect(replicaChanges(all).map(c => [c.state.wva, c.state.metric])).toEqual([
    [2, 2],
    [undefined, 2],
    [undefined, null],
  ])
  expect(replicaTable(all)).toMatch(/ 3\.0 +1 +1 +- +none +- /)
  expect(replicaCsv(all)).toContain('\n3.000,1,1,,NaN,,,,,,\n')
})

test('per step: what was decided and ready at its start, at most, and at its end', () => {
  expect(stepReplicas(scaled(1)).map(({ index, rate, desired, ready }) => ({ index, rate, desired, ready }))).toEqual([
    { index: 0, rate: 1, desired: { start: 1, max: 1, end: 1 }, ready: { start: 1, max: 1, end: 1 } },
    { index: 1, rate: 4, desired: { start: 1, max: 2, end: 2 }, ready: { start: 1, max: 1, end: 1 } },
    { index: 2, rate: 1, desired: { start: 2, max: 2, end: 1 }, ready: { start: 1, max: 2, end: 1 } },
  ])
})

test('a step before the first event is unknown, and one during which it comes starts with it', () => {
  const late = stepReplicas(scaled(1, { events: [at(200, wva(2))] }))
  expect(late.map(step => step.desired)).toEqual([null, { start: 2, max: 2, end: 2 }, { start: 2, max: 2, end: 2 }])
  expect(late.map(step => step.ready)).toEqual([null, null, null])
})

test('harness pods that load at once are one step, from the first begin to the last end', () => {
  const pods = [0, 2].map(delay => stepOf([], { rate: 3, seconds: 10, begin: begin + delay }))
  expect(stepReplicas(scaled(1, { steps: pods }))).toMatchObject([{ index: 0, rate: 6, begin: 0, end: 12 }])
})

test('means over time are weighted by time, and null where nothing is known', () => {
  const repeat = scaled(1, { steps: stepsAt([1], 40), events: [at(10, deployment(2, 2)), at(15, deployment(4, 4))] })
  const means = overTime(repeat, replicaChanges(repeat), state => state.ready, 4)
  expect(means.map(mean => mean && Number(mean.toFixed(6)))).toEqual([null, 3, 4, 4])
})

test('a repeat without load counts from its start, and one without events says so', () => {
  const repeat = scaled(4, { steps: [], startedAt: '2026-11-24T10:00:00.000Z' })
  const events = [{ ...at(0, wva(1)), at: Date.parse('2026-11-24T10:00:07.000Z') }]
  expect(replicaTable({ ...repeat, events })).toMatch(/Seconds since the repeat started; .*\n[\s\S]*\n +7\.0 +- +- +1 /)
  expect(replicaTable({ ...repeat, events: [] })).toMatch(/No change was recorded\.\n$/)
  expect(
    replicaCsv({ ...repeat, events: [] })
      .trim()
      .split('\n'),
  ).toHaveLength(1)
})

test('whatever happened, scheduled pods are never fewer than ready ones and no count is negative', () => {
  const event = fc.record({
    seconds: fc.integer({ min: 0, max: 60 }),
    name: fc.constantFrom('a', 'b', 'c'),
    state: fc.constantFrom('pending', 'bound', 'ready', 'going', 'gone') as fc.Arbitrary<'pending'>,
    waiting: fc.option(fc.integer({ min: 0, max: 9 })),
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), list => {
      const events = list.map(e => at(e.seconds, e.waiting === null ? pod(e.name, e.state) : scrape(e.name, e.waiting)))
      for (const { state } of replicaChanges(scaled(1, { events }))) {
        expect(state.scheduled ?? 0).toBeGreaterThanOrEqual(state.ready ?? 0)
        expect(Math.min(state.ready ?? 0, state.waiting ?? 0)).toBeGreaterThanOrEqual(0)
      }
    }),
  )
})
