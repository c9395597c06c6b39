import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { chainBroken, pollReady } from '../../../src/cluster/gate.ts'
import { asFailure, type Failure } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import type { Readiness } from '../../../src/stack/spec.ts'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

const waiting = (why: string): Readiness => ({ state: 'waiting', why })
const never = new AbortController().signal

/** A wait whose check is answered by a script; its last answer stays. `asked` are the times of the looks, ms. */
function poll(script: readonly Readiness[], options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const lines: string[] = []
  const asked: number[] = []
  const begin = performance.now()
  const state: { ended?: 'ready' | Failure } = {}
  const check = async () => {
    asked.push(performance.now() - begin)
    return script[Math.min(asked.length, script.length) - 1]!
  }
  pollReady('the link', check, {
    ...{ timeoutMs: options.timeoutMs ?? 60_000, next: 'Look there.', signal: options.signal ?? never },
    log: { ...silentLog, info: line => void lines.push(line) },
  }).then(
    () => {
      state.ended = 'ready'
    },
    error => {
      state.ended = asFailure(error)
    },
  )
  return { lines, asked, state, pass: (ms: number) => jest.advanceTimersByTimeAsync(ms) }
}

describe('a wait by asking', () => {
  test('looks after half a second, one and two, and then not more often than every five seconds', async () => {
    const { asked, pass } = poll([waiting('not yet')])
    await pass(24_000)
    expect(asked).toEqual([0, 500, 1500, 3500, 8500, 13_500, 18_500, 23_500])
  })

  test('logs a sentence when it changes, and once', async () => {
    const { lines, state, pass } = poll([waiting('a'), waiting('a'), waiting('b'), waiting('b'), { state: 'ready' }])
    await pass(10_000)
    expect(lines).toEqual(['the link: a', 'the link: b'])
    expect(state.ended).toBe('ready')
  })

  test('that is over says for how long it waited and what it saw last', async () => {
    const { asked, state, pass } = poll([waiting('a'), waiting('no value yet')], { timeoutMs: 10_000 })
    await pass(9999)
    expect(state.ended).toBeUndefined()
    await pass(1)
    expect(state.ended).toEqual({
      code: 'WVA_CHAIN',
      what: 'The autoscaling chain is broken at the link.',
      why: 'Not ready after 10 s: no value yet.',
      next: 'Look there.',
      evidence: [],
    })
    // What came true in the last moment counts.
    expect(asked.at(-1)).toBe(10_000)
  })

  test('ends at once with a verdict that waiting cannot mend', async () => {
    const failed: Readiness = {
      ...{ state: 'failed', code: 'WVA_CHAIN', why: 'two values are served', next: 'Remove one.' },
      evidence: ['1', '2'],
    }
    const { asked, state, pass } = poll([failed])
    await pass(0)
    expect(asked).toEqual([0])
    expect(state.ended).toMatchObject({ why: 'Two values are served.', next: 'Remove one.', evidence: ['1', '2'] })
  })

  test('ends at once when the step is cancelled between two looks', async () => {
    const stop = new AbortController()
    const { state, pass } = poll([waiting('a')], { signal: stop.signal })
    await pass(100)
    stop.abort(Object.assign(new Error('x'), { name: 'AbortError' }))
    await pass(0)
    expect(state.ended).toMatchObject({ code: 'CANCELLED' })
  })
})

describe('a look that hangs', () => {
  const hanging = (answers: readonly Readiness[], timeoutMs: number, signal = never) => {
    let looks = 0
    const ended = pollReady(
      'the link',
      limit => {
        const answer = answers[looks++]
        if (answer !== undefined) return Promise.resolve(answer)
        return new Promise((_resolve, reject) => limit.addEventListener('abort', () => reject(limit.reason)))
      },
      { timeoutMs, next: '', signal, log: silentLog },
    ).catch(asFailure)
    return ended
  }

  test('is given up five seconds after the end of the wait at the latest', async () => {
    const ended = hanging([], 10_000)
    await jest.advanceTimersByTimeAsync(15_000)
    expect(await ended).toMatchObject({ why: 'Not ready after 10 s: there was no answer.' })
  })

  test('does not hide what was seen before it', async () => {
    const ended = hanging([waiting('no value yet')], 10_000)
    await jest.advanceTimersByTimeAsync(15_000)
    expect(await ended).toMatchObject({ why: 'Not ready after 10 s: no value yet.' })
  })

  test('is no time-out when the step was cancelled', async () => {
    const stop = new AbortController()
    const ended = hanging([], 10_000, stop.signal)
    stop.abort(Object.assign(new Error('x'), { name: 'AbortError' }))
    expect(await ended).toMatchObject({ code: 'CANCELLED' })
  })
})

test('a check that throws is not taken for one that waits', async () => {
  const options = { timeoutMs: 1000, next: '', signal: never, log: silentLog }
  await expect(pollReady('x', () => Promise.reject(new Error('403')), options)).rejects.toThrow('403')
})

test('the sentence of a broken link begins with a capital and ends with one full stop', () => {
  expect(chainBroken('x', 'it is gone', 'n').failure.why).toBe('It is gone.')
  expect(chainBroken('x', 'Gone.', 'n').failure.why).toBe('Gone.')
})
