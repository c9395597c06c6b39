import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { expiresAnnotation } from '../../src/stack/inventory.ts'
import { inventoryName, type KubeObject } from '../../src/stack/kube.ts'
import { addBystanders } from './bystanders.ts'
import { expectKilled, type Killer, killAt, killWhen } from './kill-at.ts'
import { namespace, shortProfile, type World } from './world.ts'
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

/** One stack that outlives its job; every run is killed in the reset before its first repeat, and the next finds what it left. */
let world: World
let expectClean: () => void
let wanted: unknown[]

const specs = (): unknown[] => [...hpas(world), ...variants(world)].map(({ kind, spec }) => ({ kind, spec }))
const gone = (list: (world: World) => KubeObject[]) => () => list(world).length === 0
const made = (list: (world: World) => KubeObject[]) => {
  const old = list(world).map(o => o.metadata.uid)
  return () => list(world).some(o => !old.includes(o.metadata.uid))
}

beforeAll(async () => {
  world = await startWvaWorld({ env: { SIM_MAX_SEQS: '2', SIM_STEP_MS: '12' } })
  expectClean = await addBystanders(world)
  await succeeded(world.main('standup', { ...wvaStandup, lifetime: 'ttl', ttl: '2h' }))
  wanted = specs()
}, 180_000)
afterAll(() => world?.close(), 60_000)

const load = { ...wvaRun, 'workload-overrides': shortProfile('[16]', 3) }

/** Both Leases are the stack's until it expires, and no step of it runs. */
function expectKept(): void {
  const inventory = world.sandbox.api.store.get('configmaps', namespace, inventoryName)!
  const expires = Number(inventory.metadata.annotations?.[expiresAnnotation])
  expect(expires).toBeGreaterThan(Date.now() / 1000 + 3600)
  expect(benchLeases(world)).toHaveLength(2)
  for (const { metadata, spec } of benchLeases(world)) {
    const lease = spec as { holderIdentity: string; renewTime: string; leaseDurationSeconds: number }
    expect(metadata.annotations).not.toHaveProperty(['llm-d.ai/bench-lease-running'])
    expect(lease.holderIdentity).toBe('llm-d/consumer/4242/wva')
    expect(Math.abs(Date.parse(lease.renewTime) / 1000 + lease.leaseDurationSeconds - expires)).toBeLessThan(5)
  }
}

function expectRestored(): void {
  expect(wanted).toHaveLength(2)
  expect(specs()).toEqual(wanted)
  expectKept()
}

async function killedRun(killer: Killer, signal: NodeJS.Signals): Promise<Awaited<ReturnType<World['main']>>> {
  const run = await world.main('run', load, killer)
  expectKilled(run, killer, signal)
  return run
}

test('SIGTERM under load, when WVA has added a replica: the scalers stay, the Lease is kept', async () => {
  const decodePods = () => world.names('pods').filter(name => name.includes('-decode-'))
  const run = await killedRun(
    killWhen(world.sandbox, () => decodePods().length > 1, 'SIGTERM'),
    'SIGTERM',
  )
  await completePost(world, run)
  expect(world.names('pods').filter(name => name.startsWith('llmdbench-guidellm'))).toEqual([])
  expectRestored()
}, 180_000)

test.each([
  ['SIGKILL', 1],
  ['SIGKILL', 2],
  ['SIGKILL', 3],
  ['SIGKILL', 4],
  ['SIGKILL', 5],
  ['SIGKILL', 6],
  ['SIGINT', 4],
  ['SIGTERM', 6],
] as const)(
  '%s at step %i of a reset: post brings HPA and VariantAutoscaling back',
  async (signal, n) => {
    const run = await killedRun(killAt(`reset ${n} of 6`, signal), signal)
    if (n > 2 && n < 6) expect(hpas(world)).toEqual([])
    await completePost(world, run)
    expectRestored()
  },
  60_000,
)

test('SIGKILL when the HPA is gone and the VariantAutoscaling is not: post brings it back', async () => {
  // The next look comes late enough for the signal to be there first.
  const isVariant = (r: { method: string; path: string }) =>
    r.method === 'GET' && /\/variantautoscalings\//.test(r.path)
  const takeAway = world.sandbox.faults.api.add({ match: isVariant, delayMs: 300 })
  const run = await killedRun(killWhen(world.sandbox, gone(hpas), 'SIGKILL'), 'SIGKILL')
  takeAway()
  expect(variants(world)).toHaveLength(1)
  await completePost(world, run)
  expectRestored()
}, 180_000)

test.each([
  ['the VariantAutoscaling is made and the HPA is not', variants],
  ['the HPA is made and does not act yet', hpas],
] as const)(
  'SIGKILL when %s, and no post: the next run goes on from there',
  async (_when, list) => {
    await killedRun(killWhen(world.sandbox, made(list), 'SIGKILL'), 'SIGKILL')
    expect(benchLeases(world).map(l => l.metadata.annotations?.['llm-d.ai/bench-lease-running'])).toEqual([
      'true',
      'true',
    ])
    const next = await succeeded(world.main('run', load))
    expect(next.stdout).toContain('start state after')
    expectRestored()
  },
  60_000,
)

test('SIGKILL when both are gone, and no post: a run that does not reset makes them again first', async () => {
  await killedRun(killAt('reset 4 of 6', 'SIGKILL'), 'SIGKILL')
  expect(specs()).toEqual([])
  const next = await succeeded(world.main('run', { ...load, settle: '0s' }))
  expect(next.stdout).toContain('making them again from the inventory')
  expectRestored()
}, 180_000)

test('the teardown of the same workflow run needs no force, also right after a kill; a late post brings nothing back', async () => {
  const run = await killedRun(killAt('reset 5 of 6', 'SIGKILL'), 'SIGKILL')
  await succeeded(world.main('teardown', wvaLeg))
  expectClean()
  await completePost(world, run)
  expectClean()
}, 180_000)
