import { describe, expect, test } from '@jest/globals'
import { runFailure, withScaling } from '../../../src/modes/run-outcome.ts'
import type { RunScaling } from '../../../src/modes/run-scaling.ts'
import type { ChainBreak, FailureRecord, Settled } from '../../../src/results/schema.ts'
import { repeatOf, stepOf } from '../results/legs.ts'

const settled: Settled = { how: 'reset', seconds: 12, tries: 3 }
const broken: ChainBreak = { link: 'hpa', at: 1_800_000_000_000, why: 'the HPA was gone for 35 s' }
const failed: FailureRecord = { code: 'HARNESS', what: 'The pod failed.', why: 'w', next: 'n', evidence: [] }
const scaling = (breaks: ChainBreak[] = []): RunScaling => ({
  reaction: { seconds: 1, parts: { window: 1, reconcile: 0, start: 0 }, stepSeconds: 1 },
  settle: async () => settled,
  breaks: () => breaks,
  close: async () => undefined,
})
const repeat = repeatOf(1, [stepOf([])])

describe('a repeat under WVA', () => {
  test('says how it came to its start', () => {
    const found = withScaling(repeat, scaling(), settled)
    expect(found).toMatchObject({ settled, carriedOver: false })
    expect(found).not.toHaveProperty('chainBreaks')
  })

  test('that did not begin at the start state is carried over', () => {
    const from: Settled = { ...settled, carriedOver: 'WVA has decided for 3 replicas' }
    expect(withScaling(repeat, scaling(), from)).toMatchObject({ carriedOver: true, settled: from })
  })

  test('keeps the links that broke while it was loaded', () => {
    expect(withScaling(repeat, scaling([broken]), settled)).toMatchObject({ chainBreaks: [broken] })
  })
})

test('a repeat of a leg without WVA stays as it is', () => {
  expect(withScaling(repeat, undefined, undefined)).toBe(repeat)
})

describe('a run that came to its end', () => {
  test('without anything to say has not failed', () => {
    expect(runFailure([repeat, withScaling(repeat, scaling(), settled)])).toBeUndefined()
  })

  test('fails when the chain broke in a repeat, and names the first link', () => {
    const failure = runFailure([repeat, { ...withScaling(repeat, scaling([broken]), settled), index: 2 }])
    expect(failure).toMatchObject({
      ...{ code: 'WVA_CHAIN', what: 'The autoscaling chain broke in 1 of 2 repeats.' },
      ...{ why: 'Repeat 2: the HPA was gone for 35 s.', evidence: ['repeat 2, hpa: the HPA was gone for 35 s'] },
    })
  })

  test('fails with the repeat that failed first, also when the chain broke as well', () => {
    const both = { ...repeat, status: 'failed' as const, failure: failed, chainBreaks: [broken] }
    expect(runFailure([both, repeat])).toMatchObject({
      ...{ code: 'HARNESS', what: '1 of 2 repeats failed. First: The pod failed.' },
    })
  })
})
