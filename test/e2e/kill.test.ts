import { afterEach, describe, expect, test } from '@jest/globals'
import { killAt } from './kill-at.ts'
import { leftovers, namespace, shortProfile, startWorld, type World } from './world.ts'

let world: World
afterEach(() => world?.close(), 60_000)

const foreign = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'somebody-elses', namespace },
  data: { a: '1' },
}

describe.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('%s', signal => {
  test('in standup: post leaves nothing of ours and touches nothing foreign', async () => {
    world = await startWorld({ sandbox: { env: { SIM_START_SECONDS: '30' } } })
    const before = world.sandbox.snapshot()
    const killer = killAt('applied 18 objects', signal)
    const step = await world.main('standup', {}, killer)
    expect(killer.sent).toBe(true)
    expect(step.exitCode).not.toBe(0)
    world.sandbox.api.store.create(foreign)
    if (signal !== 'SIGKILL') {
      expect(step.outputs['failure-code']).toBe('CANCELLED')
      expect(
        world.sandbox.api.store
          .list('deployments.apps', namespace)
          .map(d => d.metadata.name)
          .filter(n => n.endsWith('-decode')),
      ).toEqual([])
    }
    const post = await world.post(step)
    expect(post.exitCode).toBe(0)
    expect(leftovers(before, world.sandbox.snapshot())).toEqual([expect.stringContaining('somebody-elses')])
  }, 180_000)

  test('B75: in run, post removes the harness, the stack stays until the post of standup', async () => {
    world = await startWorld()
    const before = world.sandbox.snapshot()
    const standup = await world.main('standup')
    expect(standup.exitCode).toBe(0)
    const killer = killAt('repeat 1: seed', signal)
    const step = await world.main('run', { 'workload-overrides': shortProfile('[2]', 20) }, killer)
    expect(killer.sent).toBe(true)
    expect(step.exitCode).not.toBe(0)
    const post = await world.post(step)
    expect(post.exitCode).toBe(0)
    const pods = world.sandbox.api.store.list('pods', namespace).map(p => p.metadata.name)
    expect(pods.filter(n => n.startsWith('llmdbench-') || n.startsWith('testinference-'))).toEqual([])
    expect(pods.filter(n => n.includes('-decode-'))).toHaveLength(2)
    expect((await world.post(standup)).exitCode).toBe(0)
    expect(leftovers(before, world.sandbox.snapshot())).toEqual([])
  }, 180_000)

  test('in teardown: post finishes it', async () => {
    world = await startWorld()
    const before = world.sandbox.snapshot()
    const standup = await world.main('standup')
    expect(standup.exitCode).toBe(0)
    // Every delete takes a while, so that the signal arrives in the middle.
    world.sandbox.faults.api.add({ match: r => r.method === 'DELETE', delayMs: 400, times: 30 })
    const killer = killAt('connected to Kubernetes', signal)
    const step = await world.main('teardown', {}, killer)
    expect(killer.sent).toBe(true)
    if (step.state.bench !== undefined) await world.post(step)
    expect((await world.post(standup)).exitCode).toBe(0)
    expect(leftovers(before, world.sandbox.snapshot())).toEqual([])
  }, 180_000)
})

test('a repeat that finished before the cancellation is published by post', async () => {
  world = await startWorld()
  expect((await world.main('standup')).exitCode).toBe(0)
  const killer = killAt('repeat 2: seed', 'SIGKILL')
  const step = await world.main('run', { repeats: '3' }, killer)
  expect(killer.sent).toBe(true)
  await world.post(step)
  const artifact = [...world.github.artifacts()].find(([name]) => /\.run\.a1$/.test(name))
  const leg = JSON.parse(artifact![1].files['leg.json']!.toString('utf8'))
  expect(leg.repeats.map((r: { index: number }) => r.index)).toEqual([1])
  expect(leg.status).toBe('cancelled')
  expect(world.github.comments()).toHaveLength(1)
}, 180_000)

test('B75: SIGKILL while the endpoint is probed: post removes the probe pod', async () => {
  world = await startWorld()
  expect((await world.main('standup')).exitCode).toBe(0)
  // The log of the probe is answered late, so that the signal finds the pod.
  world.sandbox.faults.api.add({
    match: r => r.path.includes('testinference') && r.path.endsWith('/log'),
    delayMs: 3000,
  })
  const killer = killAt('::group::Endpoint', 'SIGKILL')
  const kill = killer.onOutput
  const step = await world.main(
    'run',
    {},
    { onSpawn: killer.onSpawn, onOutput: text => void setTimeout(kill, 1000, text) },
  )
  expect(killer.sent).toBe(true)
  const probes = () => world.names('pods').filter(name => name.startsWith('testinference-'))
  expect(probes()).toHaveLength(1)
  expect((await world.post(step)).exitCode).toBe(0)
  expect(probes()).toEqual([])
}, 180_000)
