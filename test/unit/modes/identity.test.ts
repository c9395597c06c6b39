import { describe, expect, test } from '@jest/globals'
import type { GithubContext } from '../../../src/github/event.ts'
import type { Inputs } from '../../../src/inputs.ts'
import { silentLog } from '../../../src/log.ts'
import { actingFor, isSameStack, ofStack } from '../../../src/modes/identity.ts'
import { keptSeconds } from '../../../src/modes/lock.ts'
import type { Session } from '../../../src/modes/session.ts'
import { type Inventory, inventory, readInventory } from '../../../src/stack/inventory.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { specWith, standupRun } from '../stack/specs.ts'

const github: GithubContext = {
  ...{ repository: 'org/repo', owner: 'org', repo: 'repo', runId: 77, runAttempt: 1, sha: '', workflow: 'w', job: 'j' },
  ...{ serverUrl: '', apiUrl: '', isFork: false, eventName: 'push', actor: 'a' },
}
const session = (change: Partial<Session<Inputs>> = {}, matrix?: unknown): Session<Inputs> => ({
  inputs: { matrix } as Inputs,
  ...{ env: {}, log: silentLog, signal: AbortSignal.timeout(1000), out: '/', github, runId: 'r', attempt: 1 },
  ...{ holder: 'org/repo/77/baseline', key: 'k', leg: 'baseline', touch: () => undefined },
  ...change,
})
const spec = specWith({ wva: true })
const stack = (change: Partial<Inventory> = {}): Inventory => ({
  ...readInventory(inventory(spec, stackObjects(spec), { ...standupRun, leg: 'wva', holder: 'org/repo/77/wva' })),
  ...change,
})

describe('a later step without a matrix', () => {
  test('is of the leg that the stack was stood up for, and holds its Lease', () => {
    expect(ofStack(session(), stack())).toMatchObject({ leg: 'wva', holder: 'org/repo/77/wva' })
    expect(ofStack(session({}, {}), stack())).toMatchObject({ leg: 'wva' })
  })

  test('from a terminal keeps the id of its own', () => {
    expect(ofStack(session({ github: undefined, holder: 'cli/1' }), stack())).toMatchObject({
      ...{ leg: 'wva', holder: 'cli/1' },
    })
  })

  test.each<[string, Session<Inputs>, Inventory | undefined]>([
    ['with a matrix', session({}, { wva: false }), stack()],
    ['without a stack', session(), undefined],
    ['whose stack names no leg', session(), (({ leg: _leg, ...rest }) => rest)(stack())],
  ])('%s stays what it is', (_case, given, of) => {
    expect(ofStack(given, of)).toBe(given)
  })
})

describe('whom a step acts for', () => {
  const own = session({ holder: 'org/repo/77/wva' })
  const other = session({ holder: 'org/repo/78/wva' })
  const terminal = session({ github: undefined, holder: 'cli/1' })

  test.each<[string, Session<Inputs>, Inventory, string, boolean]>([
    ['its own stack', own, stack(), 'org/repo/77/wva', false],
    ['its own stack that outlives the job', own, stack({ lifetime: 'ttl' }), 'org/repo/77/wva', false],
    ['a stack of another job, not lent', other, stack(), 'org/repo/78/wva', false],
    ['a stack of another job that is there for later runs', other, stack({ lifetime: 'ttl' }), 'org/repo/77/wva', true],
    ['from a terminal, the stack of a job', terminal, stack(), 'org/repo/77/wva', true],
    ['from a terminal, its own', terminal, stack({ holder: 'cli/1' }), 'cli/1', false],
  ])('%s', (_case, given, of, holder, idleOnly) => {
    const acting = actingFor(given, of)
    expect({ holder: acting.session.holder, idleOnly: acting.idleOnly }).toEqual({ holder, idleOnly })
  })
})

test('two legs of one model are two stacks, and so are two models', () => {
  expect(isSameStack(stack(), spec)).toBe(true)
  expect(isSameStack(stack(), specWith())).toBe(false)
  expect(isSameStack(stack({ wva: false }), spec)).toBe(false)
  expect(isSameStack(stack(), specWith({ wva: true, model: 'org/other' }))).toBe(false)
  expect(isSameStack(stack(), specWith({ wva: true, release: 'other' }))).toBe(false)
})

test('a Lease is kept to the next step of a job, or to the expiry of the stack', () => {
  const now = 1_800_000_000_500
  const of = (lifetime: 'job' | 'ttl', expiresEpochSeconds: number) =>
    keptSeconds({ lifetime, expiresEpochSeconds }, now)
  expect(of('job', 1_800_007_200)).toBe(900)
  expect(of('ttl', 1_800_007_200)).toBe(7200)
  expect(of('ttl', 1_800_000_001)).toBe(1)
  expect(of('ttl', 1_700_000_000)).toBe(1)
})
