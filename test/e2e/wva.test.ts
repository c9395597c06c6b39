import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { checkLeg, type LegDocument } from '../../src/results/schema.ts'
import { leftovers, namespace, shortProfile, startWorld, type World } from './world.ts'

/** Intervals of the autoscaling platform: seconds where a real cluster takes minutes. */
const window = '2s'
const wvaLeg = { matrix: '{"wva": true}', strategy: '{"job-total": 2}' }

let world: World
let before: string[]
beforeAll(async () => {
  world = await startWorld({
    sandbox: {
      wva: { reconcile: '300ms', scrape: '150ms', window, relist: '200ms' },
      hpaSyncMs: 300,
      // Four requests at once: two per second are easy for one replica, sixteen are not.
      env: { SIM_MAX_SEQS: '4', SIM_STEP_MS: '15' },
    },
  })
  before = world.sandbox.snapshot()
}, 180_000)
afterAll(() => world?.close(), 60_000)

const standupInputs = {
  ...wvaLeg,
  wva: 'true',
  'max-replicas': '3',
  'settle-window': window,
  'hpa-behavior': 'scaleUp: {stabilizationWindowSeconds: 0}\nscaleDown: {stabilizationWindowSeconds: 60}',
}
const ok = (step: { exitCode: number | null; stdout: string; stderr: string }) =>
  expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout + step.stderr }).toEqual({
    exit: 0,
    out: '',
  })

const decode = () =>
  world.sandbox.api.store.list('deployments.apps', namespace).find(d => d.metadata.name.endsWith('-decode'))!
const stored = (resource: string) => world.sandbox.api.store.list(resource, namespace)

function legDocument(name: RegExp): LegDocument {
  const found = [...world.github.artifacts()].find(([n]) => name.test(n))
  const checked = checkLeg(JSON.parse(found![1].files['leg.json']!.toString('utf8')))
  if ('problems' in checked) throw new Error(checked.problems.join('\n'))
  return checked.leg
}

test('B41, B45, B50: standup under WVA ends when the chain is seen working, at 1 replica', async () => {
  const step = await world.main('standup', standupInputs)
  ok(step)
  expect(step.stdout).toContain('applied 20 objects: 20 created')
  expect(step.stdout).toMatch(/start state after \d/)
  const name = decode().metadata.name
  expect(stored('horizontalpodautoscalers.autoscaling').map(o => o.metadata.name)).toEqual([name])
  expect(stored('variantautoscalings.llmd.ai').map(o => o.metadata.name)).toEqual([name])
  expect((decode().spec as { replicas: number }).replicas).toBe(1)
  // The HPA is made after the external metrics API was asked, and not before.
  const ours = world.sandbox.api.requests().filter(r => r.userAgent.includes('bench-action'))
  const made = ours.findIndex(r => r.method === 'PATCH' && r.path.includes('/horizontalpodautoscalers/'))
  const asked = ours.findIndex(r => r.path.includes('/inferno_desired_replicas'))
  expect(asked).toBeGreaterThan(0)
  expect(made).toBeGreaterThan(asked)
}, 180_000)

test('B38: a second standup of a WVA leg at its start state leaves its scalers alone', async () => {
  const uids = () =>
    [...stored('horizontalpodautoscalers.autoscaling'), ...stored('variantautoscalings.llmd.ai'), ...stored('pods')]
      .filter(o => !o.metadata.name.startsWith('testinference'))
      .map(o => o.metadata.uid)
      .sort()
  const earlier = uids()
  const step = await world.main('standup', standupInputs)
  ok(step)
  expect(step.stdout).toContain('the stack stands at its start state already')
  expect(uids()).toEqual(earlier)
}, 180_000)

test('B52, B74: run resets between repeats and records what WVA, HPA and replicas did under load', async () => {
  const step = await world.main('run', {
    ...wvaLeg,
    repeats: '2',
    'settle-window': window,
    'workload-overrides': shortProfile('[2, 16]', 7),
  })
  ok(step)
  const leg = legDocument(/\.wva\.run\.a1$/)
  expect(leg).toMatchObject({ leg: 'wva', identity: { wva: true, maxReplicas: 3, wvaVersion: '0.4.2' } })
  expect(leg.reaction).toMatchObject({ parts: { window: 0, reconcile: 0.3 }, stepSeconds: 7 })
  expect(leg.repeats.map(r => r.settled?.how)).toEqual(['proven', 'reset'])
  expect(leg.timings.settle).toBeGreaterThan(0)
  for (const repeat of leg.repeats) {
    expect(repeat).toMatchObject({ startReplicas: 1, carriedOver: false })
    expect(repeat.chainBreaks).toBeUndefined()
    const most = (of: (e: LegDocument['repeats'][number]['events'][number]) => number) =>
      Math.max(...repeat.events.map(of))
    expect(most(e => (e.kind === 'VariantAutoscaling' ? (e.desired ?? 0) : 0))).toBeGreaterThan(1)
    expect(most(e => (e.kind === 'HorizontalPodAutoscaler' ? e.desired : 0))).toBeGreaterThan(1)
    expect(most(e => (e.kind === 'Deployment' ? e.ready : 0))).toBeGreaterThan(1)
    expect(repeat.events.some(e => e.kind === 'ExternalMetric' && e.value !== null)).toBe(true)
    expect(repeat.events.some(e => e.kind === 'Replica' && e.running > 0)).toBe(true)
  }
}, 180_000)

test('the table of replicas over time is in the artifact, per repeat, as text and as CSV', () => {
  const results = [...world.github.artifacts()].find(([n]) => /\.wva\.results\.a1$/.test(n))!
  const names = Object.keys(results[1].files).filter(n => n.includes('.replicas.'))
  expect(names.map(n => n.replace(/^(r\d)\/analysis\/.*\.replicas\./, '$1 ')).sort()).toEqual([
    'r1 csv',
    'r1 txt',
    'r2 csv',
    'r2 txt',
  ])
  const text = results[1].files[names.find(n => n.endsWith('.txt'))!]!.toString('utf8')
  expect(text).toMatch(/WVA desired +ready/)
})

test('while the other leg of the matrix is missing the comment says how far it is', () => {
  const [, headline] = world.github.comments()[0]!.body.split('\n')
  expect(headline).toContain('1 of 2 legs done')
})

test('teardown of a WVA leg removes scalers and Leases, and leaves the platform alone', async () => {
  const step = await world.main('teardown', wvaLeg)
  ok(step)
  expect(step.outputs.leftovers).toBe('0')
  expect(leftovers(before, world.sandbox.snapshot())).toEqual([])
  expect(before.filter(line => !world.sandbox.snapshot().includes(line))).toEqual([])
}, 180_000)

test('the baseline leg beside it gives one comment with both legs in one table', async () => {
  const baseline = { matrix: '{"wva": false}', strategy: '{"job-total": 2}', replicas: '1' }
  const { replicas, ...others } = baseline
  ok(await world.main('standup', { ...others, replicas, wva: 'false' }))
  ok(await world.main('run', { ...others, repeats: '2', 'workload-overrides': shortProfile('[2, 16]', 7) }))
  ok(await world.main('teardown', others))
  expect(world.github.comments()).toHaveLength(1)
  const { body } = world.github.comments()[0]!
  expect(body).toMatch(/\| req\/s \| baseline \| WVA \|/)
  expect(body).toContain('Completed of offered')
  expect(body).not.toMatch(/\b(better|worse|winner)\b/i)
}, 180_000)
