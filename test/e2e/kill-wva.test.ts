import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { inventoryName } from '../../src/stack/kube.ts'
import { addBystanders } from './bystanders.ts'
import { expectKilled, killAt, killWhen } from './kill-at.ts'
import { shortProfile, type World } from './world.ts'
import {
  benchLeases,
  completePost,
  hpas,
  startWvaWorld,
  succeeded,
  variants,
  wvaLeg,
  wvaRun,
  wvaStandup,
} from './wva-world.ts'

let world: World
let expectClean: () => void

beforeAll(async () => {
  // Two requests at once: the load asks for a second replica within a second.
  world = await startWvaWorld({ env: { SIM_MAX_SEQS: '2', SIM_STEP_MS: '12' } })
  expectClean = await addBystanders(world)
}, 180_000)
afterAll(() => world?.close(), 60_000)

const load = { ...wvaRun, repeats: '2', 'workload-overrides': shortProfile('[16]', 3) }
const inventoryGone = (): boolean => !world.names('configmaps').includes(inventoryName)
const decodePods = (): string[] => world.names('pods').filter(name => name.includes('-decode-'))

test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
  '%s in standup while the stack is applied: post leaves nothing',
  async signal => {
    // All objects but these arrive, and they are still being tried when the signal comes.
    const isDeployment = (r: { method: string; path: string }) =>
      r.method === 'PATCH' && r.path.includes('/deployments/')
    const takeAway = world.sandbox.faults.api.add({ match: isDeployment, status: 503 })
    const killer = killWhen(world.sandbox, () => world.names('serviceaccounts').length > 1, signal)
    const step = await world.main('standup', wvaStandup, killer)
    takeAway()
    expectKilled(step, killer, signal)
    await completePost(world, step)
    expectClean()
  },
  60_000,
)

test.each([
  ['SIGINT', '::group::Autoscaling'],
  ['SIGTERM', 'reset 5 of 6'],
  ['SIGKILL', 'reset 6 of 6'],
] as const)(
  '%s in standup while the chain is proven ("%s"): post leaves nothing',
  async (signal, marker) => {
    const killer = killAt(marker, signal)
    const step = await world.main('standup', wvaStandup, killer)
    expectKilled(step, killer, signal)
    await completePost(world, step)
    expectClean()
  },
  60_000,
)

test.each([
  ['SIGKILL', 1],
  ['SIGKILL', 2],
  ['SIGKILL', 3],
  ['SIGKILL', 4],
  ['SIGKILL', 5],
  ['SIGKILL', 6],
  ['SIGTERM', 3],
  ['SIGINT', 5],
] as const)(
  '%s at step %i of the reset before repeat 2: the posts of run and standup leave nothing',
  async (signal, n) => {
    const standup = await succeeded(world.main('standup', wvaStandup))
    const killer = killAt(`reset ${n} of 6`, signal)
    const run = await world.main('run', load, killer)
    expectKilled(run, killer, signal)
    expect(run.stdout).toContain('Start state of repeat 2')
    await completePost(world, run)
    expect(decodePods()).not.toEqual([])
    await completePost(world, standup)
    expectClean()
  },
  60_000,
)

test.each(['SIGINT', 'SIGKILL'] as const)(
  '%s under load, when WVA has added a replica: the posts leave nothing',
  async signal => {
    const standup = await succeeded(world.main('standup', wvaStandup))
    const killer = killWhen(world.sandbox, () => decodePods().length > 1, signal)
    const run = await world.main('run', load, killer)
    expectKilled(run, killer, signal)
    await completePost(world, run)
    expect(world.names('pods').filter(name => name.startsWith('llmdbench-guidellm'))).toEqual([])
    expect(decodePods()).not.toEqual([])
    await completePost(world, standup)
    expectClean()
  },
  60_000,
)

test.each([
  ['SIGINT', 'the scalers go', () => hpas(world).length === 0],
  ['SIGTERM', 'the scalers are gone', () => hpas(world).length + variants(world).length === 0],
  ['SIGKILL', 'the inventory is gone', inventoryGone],
] as const)(
  '%s in teardown when %s: its post finishes it',
  async (signal, _when, state) => {
    // The post of such a standup does nothing: what is left by the post of teardown is left for good.
    await succeeded(world.main('standup', { ...wvaStandup, lifetime: 'ttl' }))
    const { api } = world.sandbox.faults
    api.add({ match: r => r.method === 'DELETE', delayMs: 100 })
    api.add({ match: r => r.path.includes('/leases/') && inventoryGone(), delayMs: 1000 })
    const killer = killWhen(world.sandbox, state, signal)
    const step = await world.main('teardown', wvaLeg, killer)
    api.clear()
    expectKilled(step, killer, signal)
    expect(benchLeases(world)).not.toEqual([])
    await completePost(world, step)
    expectClean()
  },
  60_000,
)
