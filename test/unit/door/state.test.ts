import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { asFailure, UserError } from '../../../src/errors.ts'
import { decidePost, parseState, type StepState } from '../../../src/state.ts'
import { version } from '../../../src/version.ts'

const state = (patch: Partial<StepState> = {}): StepState => ({
  version: 1,
  mode: 'standup',
  runId: 'abc',
  holder: 'o/r/1/baseline',
  out: '/tmp/x',
  phase: 'touched',
  published: false,
  ...patch,
})

describe('post decides from state and inputs alone', () => {
  test.each([
    ['nothing when main never started', undefined, { lifetime: 'job' as const, dryRun: false }, 'nothing'],
    ['nothing after a dry run', state(), { lifetime: 'job' as const, dryRun: true }, 'nothing'],
    [
      'nothing when main stopped before the first write',
      state({ phase: 'started' }),
      { lifetime: 'job' as const, dryRun: false },
      'nothing',
    ],
    [
      'remove the stack of a standup that finished',
      state({ phase: 'finished' }),
      { lifetime: 'job' as const, dryRun: false },
      'remove-stack',
    ],
    [
      'remove the stack of a standup that was killed',
      state(),
      { lifetime: 'job' as const, dryRun: false },
      'remove-stack',
    ],
    [
      'leave a stack with lifetime ttl',
      state({ phase: 'finished' }),
      { lifetime: 'ttl' as const, dryRun: false },
      'nothing',
    ],
    [
      'nothing after a run that finished and published',
      state({ mode: 'run', phase: 'finished', published: true }),
      { dryRun: false },
      'nothing',
    ],
    ['remove the harness of a run that was killed', state({ mode: 'run' }), { dryRun: false }, 'remove-harness'],
    [
      'publish what a run finished but did not publish',
      state({ mode: 'run', phase: 'finished' }),
      { dryRun: false },
      'remove-harness',
    ],
    ['finish a teardown that was cut', state({ mode: 'teardown' }), { dryRun: false }, 'finish-teardown'],
    [
      'nothing after a teardown that finished',
      state({ mode: 'teardown', phase: 'finished', published: true }),
      { dryRun: false },
      'nothing',
    ],
  ])('%s', (_name, given, inputs, kind) => {
    expect(decidePost(given, inputs).kind).toBe(kind)
  })
  test('a run that was killed before it published asks for publication', () => {
    expect(decidePost(state({ mode: 'run' }), { dryRun: false })).toEqual({ kind: 'remove-harness', publish: true })
    expect(decidePost(state({ mode: 'run', published: true }), { dryRun: false })).toEqual({
      kind: 'remove-harness',
      publish: false,
    })
  })
})

test('a state that is not ours is ignored', () => {
  expect(parseState('')).toBeUndefined()
  expect(parseState('not json')).toBeUndefined()
  expect(parseState('{"version":2}')).toBeUndefined()
  expect(parseState(JSON.stringify(state()))).toEqual(state())
})

test('an abort is CANCELLED, a UserError keeps its code, anything else is a bug', () => {
  expect(asFailure(Object.assign(new Error('x'), { name: 'CancelledError' })).code).toBe('CANCELLED')
  expect(asFailure(new UserError('SMOKE', 'w', { why: 'y', next: 'n' })).code).toBe('SMOKE')
  expect(asFailure(new TypeError('boom'))).toMatchObject({ code: 'INTERNAL', what: 'Unexpected error: boom' })
  expect(asFailure('text').code).toBe('INTERNAL')
})

test('the version is that of package.json', () => {
  expect(JSON.parse(readFileSync('package.json', 'utf8')).version).toBe(version)
})
