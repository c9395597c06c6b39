import { expect, test } from '@jest/globals'
import { defaultBudget, judge, type RequestFailure, requestFailure, withRetry } from '../../../src/github/retry.ts'
import { silentLog } from '../../../src/log.ts'

const failure = (change: Partial<RequestFailure>): RequestFailure => ({
  headers: {},
  message: '',
  unsent: false,
  ...change,
})
const now = 1_700_000_000_000

test.each([
  ['a 500 of a read', failure({ status: 500 }), true, { kind: 'again' }],
  ['a 500 of a create', failure({ status: 500 }), false, { kind: 'final' }],
  ['a lost connection of a read', failure({}), true, { kind: 'again' }],
  ['a lost connection of a create', failure({}), false, { kind: 'final' }],
  ['a create that was never sent', failure({ unsent: true }), false, { kind: 'again' }],
  [
    'a refused permission',
    failure({ status: 403, message: 'Resource not accessible by integration' }),
    true,
    { kind: 'final' },
  ],
  ['a 404', failure({ status: 404 }), true, { kind: 'final' }],
  ['a 422', failure({ status: 422 }), true, { kind: 'final' }],
  [
    'a 429 with retry-after',
    failure({ status: 429, headers: { 'retry-after': '7' } }),
    false,
    { kind: 'again', afterMs: 7000 },
  ],
  [
    'a secondary limit',
    failure({ status: 403, message: 'You have exceeded a secondary rate limit.' }),
    false,
    { kind: 'again', afterMs: 60_000 },
  ],
  [
    'a spent primary limit',
    failure({ status: 403, headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 + 30) } }),
    true,
    { kind: 'again', afterMs: 30_000 },
  ],
])('%s is judged by what it can have changed', (_name, of, idempotent, verdict) => {
  expect(judge(of, idempotent, now)).toEqual(verdict)
})

test('an error that is no answer of the network is a bug and never a reason to try again', () => {
  expect(requestFailure(new TypeError('x is not a function'))).toBeUndefined()
  expect(requestFailure('text')).toBeUndefined()
})

test('a bug of ours comes out of a request as it is, after one try', async () => {
  const bug = new TypeError('x is not a function')
  let tries = 0
  const request = {
    what: 'x',
    idempotent: true,
    budget: defaultBudget(),
    signal: AbortSignal.timeout(5000),
    log: silentLog,
  }
  const work = withRetry(request, async () => {
    tries++
    throw bug
  })
  await expect(work).rejects.toBe(bug)
  expect(tries).toBe(1)
})
