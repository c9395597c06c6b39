import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { inventoryName, type KubeObject } from '../../src/stack/kube.ts'
import { type Killer, killAt, killWhen } from './kill-at.ts'
import { leftovers, namespace, shortProfile, type World } from './world.ts'
import {
  benchLeases,
  hpas,
  identities,
  startWvaWorld,
  variants,
  wvaLeg,
  wvaNamespace,
  wvaRun,
  wvaStandup,
} from './wva-world.ts'

/** Two requests at once: a load of 8 per second asks for a second replica within a second. */
const server = { SIM_MAX_SEQS: '2', SIM_STEP_MS: '12' }
const load = shortProfile('[8]', 2)
const resetSteps = [1, 2, 3, 4, 5, 6] as const

let world: World
let before: string[]
let identitiesBefore: string[]

const somebodyElses: KubeObject[] = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'somebody-elses', namespace }, data: { a: '1' } },
  {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    // That of another model.
    metadata: { name: 'llm-d-bench-wva-0123456789', namespace: wvaNamespace, labels: { 'llm-d.ai/bench-stack': 'x' } },
    spec: { holderIdentity: 'somebody/else/1/wva', leaseDurationSeconds: 60, renewTime: '2026-01-01T00:00:00.000000Z' },
  },
]
const foreignLease = () =>
  world.sandbox.api.store.get('leases.coordination.k8s.io', wvaNamespace, 'llm-d-bench-wva-0123456789')
let foreignBefore: unknown

async function open(): Promise<void> {
  world = await startWvaWorld({ env: server })
  world.sandbox.api.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  for (const object of somebodyElses) world.sandbox.api.store.create(object)
  await world.sandbox.until('the namespace is complete', () => world.names('serviceaccounts').includes('default'))
  before = world.sandbox.snapshot()
  identitiesBefore = identities(world)
  foreignBefore = foreignLease()
}

/** Nothing of ours is left, Leases included; nothing that was there before has changed, the platform included. */
function expectClean(): void {
  expect(leftovers(before, world.sandbox.snapshot())).toEqual([])
  const now = identities(world)
  expect(identitiesBefore.filter(line => !now.includes(line))).toEqual([])
  expect(foreignLease()).toEqual(foreignBefore)
}

type Step = Awaited<ReturnType<World['main']>>
/** The signal was sent, and the step ended by it. */
function expectKilled(step: Step, killer: Killer, signal: NodeJS.Signals): void {
  expect({ sent: killer.sent, out: killer.sent ? '' : step.stdout }).toEqual({ sent: true, out: '' })
  if (signal === 'SIGKILL') expect(step.signal).toBe('SIGKILL')
  else expect(step.outputs['failure-code']).toBe('CANCELLED')
}

async function succeeded(running: Promise<Step>): Promise<Step> {
  const step = await running
  expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout }).toEqual({ exit: 0, out: '' })
  return step
}

/** Post never fails a job; what it could not do it says as a warning. */
async function post(step: Step): Promise<void> {
  const { exitCode, stdout, milliseconds } = await world.post(step)
  console.log(
    milliseconds,
    stdout
      .split('\n')
      .filter(l => !/add-mask/.test(l))
      .join('\n'),
  )
  expect({ exitCode, warnings: stdout.split('\n').filter(l => l.startsWith('::warning')) }).toEqual({
    exitCode: 0,
    warnings: [],
  })
}

describe('lifetime: job', () => {
  beforeAll(open, 60_000)
  afterAll(() => world?.close(), 60_000)

  test.each([
    ['SIGINT', '::group::Autoscaling'],
    ['SIGTERM', 'reset 5 of 6'],
    ['SIGKILL', 'reset 6 of 6'],
  ] as const)(
    '%s in standup at "%s", while the chain is proven: post leaves nothing',
    async (signal, marker) => {
      const killer = killAt(marker, signal)
      const step = await world.main('standup', wvaStandup, killer)
      expectKilled(step, killer, signal)
      await post(step)
      expectClean()
    },
    60_000,
  )

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    '%s while the stack is applied: post leaves nothing',
    async signal => {
      // Pods come and go on their own; the applies that are under way are answered late.
      world.sandbox.faults.api.add({
        match: r => r.method === 'PATCH' && r.userAgent.includes('bench-action'),
        delayMs: 60,
      })
      const killer = killWhen(world.sandbox, () => world.names('serviceaccounts').length > 1, signal)
      const step = await world.main('standup', wvaStandup, killer)
      world.sandbox.faults.api.clear()
      expectKilled(step, killer, signal)
      expect(step.stdout).not.toContain('applied 20 objects')
      await post(step)
      expectClean()
    },
    60_000,
  )

  test.each([
    ...resetSteps.map(n => ['SIGKILL', `reset ${n} of 6`] as const),
    ['SIGTERM', 'reset 3 of 6'],
    ['SIGINT', 'reset 5 of 6'],
    ['SIGINT', 'repeat 1: seed'],
    ['SIGKILL', 'repeat 1: seed'],
  ] as const)(
    '%s in run at "%s": the posts of run and standup leave nothing',
    async (signal, marker) => {
      const standup = await succeeded(world.main('standup', wvaStandup))
      const killer = killAt(marker, signal)
      const run = await world.main('run', { ...wvaRun, repeats: '2', 'workload-overrides': load }, killer)
      expectKilled(run, killer, signal)
      await post(run)
      expect(world.names('pods').filter(name => name.startsWith('llmdbench-guidellm'))).toEqual([])
      expect(world.names('deployments.apps')).toContainEqual(expect.stringMatching(/-decode$/))
      await post(standup)
      expectClean()
    },
    60_000,
  )

  test.each([
    ['SIGINT', 'everything is there', () => true],
    ['SIGTERM', 'the scalers are gone', () => hpas(world).length + variants(world).length === 0],
    ['SIGKILL', 'the inventory is gone', inventoryGone],
  ] as const)(
    '%s in teardown when %s: its post finishes it',
    async (signal, _when, state) => {
      const standup = await succeeded(world.main('standup', { ...wvaStandup, lifetime: 'ttl' }))
      // Every delete takes a while, so that the signal arrives in the middle.
      world.sandbox.faults.api.add({ match: r => r.method === 'DELETE', delayMs: 100 })
      world.sandbox.faults.api.add({ match: r => r.path.includes('/leases/') && inventoryGone(), delayMs: 1000 })
      const teardown = killAt('::group::Teardown', signal)
      const killer = signal === 'SIGINT' ? teardown : killWhen(world.sandbox, state, signal)
      const step = await world.main('teardown', wvaLeg, killer)
      world.sandbox.faults.api.clear()
      expectKilled(step, killer, signal)
      expect(benchLeases(world)).not.toEqual([])
      await post(step)
      await post(standup)
      expectClean()
    },
    60_000,
  )
})

function inventoryGone(): boolean {
  return !world.names('configmaps').includes(inventoryName)
}
