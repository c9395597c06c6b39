import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { asFailure } from '../../../src/errors.ts'
import type { Inputs } from '../../../src/inputs.ts'
import { standingFor } from '../../../src/modes/identity.ts'
import type { Session } from '../../../src/modes/session.ts'
import { inventory } from '../../../src/stack/inventory.ts'
import { emptyRecord, type LeaseRecord, leaseObject } from '../../../src/stack/lease-record.ts'
import { locksOf } from '../../../src/stack/locks.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { specWith, standupRun } from '../../unit/stack/specs.ts'
import { namespace, ScaledStack, spec } from './scaled-stack.ts'

let stack: ScaledStack
beforeEach(async () => {
  stack = await ScaledStack.start()
})
afterEach(() => stack.close())

const owner = 'org/repo/1/wva'
const nowSeconds = () => Math.floor(Date.now() / 1000)
const session = (holder: string) => ({ holder, signal: stack.stop.signal }) as Session<Inputs>
/** A stack that `owner` has stood up. */
const stands = (of: { lifetime?: 'job' | 'ttl'; expired?: boolean } = {}) =>
  stack.server.store.create(
    inventory(spec, stackObjects(spec), {
      ...{ ...standupRun, holder: owner, leg: 'wva', lifetime: of.lifetime ?? 'ttl' },
      expiresEpochSeconds: nowSeconds() + (of.expired ? -10 : 3600),
    }),
  )
const lease = (change: Partial<LeaseRecord> = {}) => {
  const [ref] = locksOf(spec)
  const record = { ...emptyRecord, holder: owner, stack: `${namespace}/${spec.stack}`, durationSeconds: 3600 }
  stack.server.store.create(leaseObject({ ...record, acquiredMs: Date.now(), renewedMs: Date.now(), ...change }, ref!))
}
const actsFor = (holder: string, wanted = spec) =>
  standingFor(stack.api, wanted, session(holder)).then(
    found => found.holder,
    error => asFailure(error).code,
  )

describe('a standup', () => {
  test('into an empty namespace acts for itself', async () => {
    expect(await actsFor('me')).toBe('me')
  })

  test('uses the very same stack that is kept for later runs, for its owner', async () => {
    stands()
    lease()
    expect(await actsFor('me')).toBe(owner)
  })

  test('of another stack is refused where one is kept: to wait would be to wait for hours', async () => {
    stands()
    lease()
    expect(await actsFor('me', specWith())).toBe('PREFLIGHT')
    expect(await actsFor('me', specWith({ wva: true, model: 'org/other' }))).toBe('PREFLIGHT')
  })

  test.each<[string, Parameters<typeof stands>[0], Partial<LeaseRecord>]>([
    ['a stack of a job', { lifetime: 'job' }, {}],
    ['a stack that has expired', { expired: true }, {}],
    ['a stack that a step uses at this moment', {}, { running: true }],
  ])('before %s waits for it as itself', async (_case, of, change) => {
    stands(of)
    lease(change)
    expect(await actsFor('me', specWith())).toBe('me')
  })

  test('without the right to read the Lease, or without one, acts for itself', async () => {
    stands()
    expect(await actsFor('me')).toBe('me')
    lease()
    stack.server.faults.add({ match: r => r.path.includes('/leases/'), status: 403 })
    expect(await actsFor('me')).toBe('me')
  })

  test('over a stack of its own is the same one, or is refused until that has expired', async () => {
    stands()
    lease()
    expect(await actsFor(owner)).toBe(owner)
    expect(await actsFor(owner, specWith())).toBe('PREFLIGHT')
  })

  test('over an expired stack of its own may be another', async () => {
    stands({ expired: true })
    expect(await actsFor(owner, specWith())).toBe(owner)
  })
})
