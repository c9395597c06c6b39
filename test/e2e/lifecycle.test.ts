import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { parseReport } from '../../src/harness/parse.ts'
import { readReport } from '../../src/harness/report-reader.ts'
import { checkLeg, type LegDocument } from '../../src/results/schema.ts'
import { hfToken, leftovers, model, namespace, startWorld, type World } from './world.ts'

let world: World
let before: string[]
beforeAll(async () => {
  world = await startWorld()
  before = world.sandbox.snapshot()
}, 180_000)
afterAll(() => world?.close(), 60_000)

const legOf = (name: RegExp): LegDocument => {
  const found = [...world.github.artifacts()].find(([n]) => name.test(n))
  if (!found) throw new Error(`no artifact ${name} among ${[...world.github.artifacts().keys()]}`)
  const checked = checkLeg(JSON.parse(found[1].files['leg.json']!.toString('utf8')))
  if ('problems' in checked) throw new Error(JSON.stringify(checked.problems))
  return checked.leg
}

test('B19, B20, B34, B36, B37: standup ends with a stack that serves, and says where', async () => {
  const step = await world.main('standup')
  expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout + step.stderr }).toEqual({
    exit: 0,
    out: '',
  })
  expect(step.outputs).toMatchObject({
    namespace,
    endpoint: `http://infra-llmdbench-inference-gateway-istio.${namespace}.svc.cluster.local:80`,
  })
  expect(step.stdout).toContain(`the gateway answers with ${model}`)
}, 180_000)

test('B38: a second standup with the same inputs changes nothing but the inventory', async () => {
  const pods = () =>
    world.sandbox.api.store
      .list('pods', namespace)
      .map(p => p.metadata.uid)
      .sort()
  const uids = pods()
  const step = await world.main('standup')
  expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout + step.stderr }).toEqual({
    exit: 0,
    out: '',
  })
  expect(step.stdout).toMatch(/applied 18 objects: 0 created, [01] changed, 1[78] unchanged/)
  expect(pods()).toEqual(uids)
}, 180_000)

test('B53, B61, B68, B70, B73, B75: run measures every repeat, publishes both artifacts and one comment, and cleans up', async () => {
  const step = await world.main('run', { repeats: '2' })
  expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout + step.stderr }).toEqual({
    exit: 0,
    out: '',
  })
  const leg = legOf(/\.run\.a1$/)
  expect(leg).toMatchObject({ stage: 'run', status: 'done', simulated: true })
  expect(leg.repeats.map(r => r.seed)).toEqual([43, 44])
  expect(leg.repeats.map(r => r.steps.map(s => s.rate))).toEqual([
    [2, 4],
    [2, 4],
  ])
  for (const repeat of leg.repeats) {
    expect(repeat.events.some(e => e.kind === 'Deployment' && e.ready === 2)).toBe(true)
    expect(repeat.events.filter(e => e.kind === 'Pod' && e.gpus === 1).length).toBeGreaterThan(0)
    for (const s of repeat.steps) expect([...s.rows.status].filter(c => c === 'c').length).toBe(s.totals.successful)
  }
  // Seeds differ between repeats, so the prompts do.
  expect(leg.repeats[0]!.steps[0]!.rows.promptHash).not.toEqual(leg.repeats[1]!.steps[0]!.rows.promptHash)
  const results = [...world.github.artifacts()].find(([n]) => n.includes('.results.'))!
  const names = Object.keys(results[1].files).sort()
  expect(
    names.filter(n => /^r1\/results\/.*Llama.*llm-d-bench.*chatbot-synthetic.*r1.*results\.json$/.test(n)),
  ).toHaveLength(1)
  expect(names.some(n => /^r2\/analysis\/.*summary\.txt$/.test(n))).toBe(true)
  const summary = results[1].files[names.find(n => n.endsWith('summary.txt'))!]!.toString('utf8')
  expect(summary).toMatch(/^.*Setup complete, starting benchmarks/)
  const report = results[1].files[names.find(n => n.endsWith('results.json'))!]!.toString('utf8')
  expect(report).not.toMatch(/"prompt": ?"|'prompt': ?'/)
  expect(JSON.parse(report).benchmarks[0].requests.successful[0].output ?? null).toBeNull()
  // The stripped report replays to the very rows of leg.json.
  const chunks = (async function* () {
    yield Buffer.from(report)
  })()
  expect(parseReport(await readReport(chunks)).steps).toEqual(leg.repeats[0]!.steps)
  expect(world.github.comments()).toHaveLength(1)
  expect(world.sandbox.api.store.list('pods', namespace).filter(p => p.metadata.name.startsWith('llmdbench-'))).toEqual(
    [],
  )
}, 180_000)

test('the counts in the comment are those of the records', async () => {
  const leg = legOf(/\.run\.a1$/)
  const body = world.github.comments()[0]!.body
  const completed = [0, 1].map(i =>
    leg.repeats.reduce((sum, r) => sum + [...r.steps[i]!.rows.status].filter(c => c === 'c').length, 0),
  )
  const row = body.split('\n').find(l => /completed/i.test(l) && l.startsWith('|'))!
  for (const count of completed) expect(row).toContain(String(count))
  expect(body.toLowerCase()).toContain('simulated')
}, 30_000)

test('B79, B83, B84: teardown removes the stack, keeps weights and token, and is idempotent', async () => {
  const first = await world.main('teardown')
  expect({ exit: first.exitCode, out: first.exitCode === 0 ? '' : first.stdout }).toEqual({ exit: 0, out: '' })
  expect(first.outputs.leftovers).toBe('0')
  expect(first.stdout).toContain('kept on purpose: PersistentVolumeClaim model-pvc, Secret llm-d-hf-token')
  expect(leftovers(before, world.sandbox.snapshot())).toEqual([])
  const second = await world.main('teardown')
  expect(second.exitCode).toBe(0)
  expect(second.stdout).toContain('nothing of ours to delete')
  expect(world.github.comments()).toHaveLength(1)
}, 180_000)

test('after the stack is gone, run says so and names lifetime: ttl', async () => {
  const step = await world.main('run')
  expect(step.exitCode).toBe(1)
  expect(step.stdout).toContain('lifetime: ttl')
  expect(step.outputs['failure-code']).toBe('PREFLIGHT')
}, 180_000)

test('B83: teardown with deep deletes the weights and the token too', async () => {
  const step = await world.main('teardown', { deep: 'true' })
  expect(step.exitCode).toBe(0)
  const rest = world.sandbox.api.store
    .list('persistentvolumeclaims', namespace)
    .concat(world.sandbox.api.store.list('secrets', namespace))
  expect(rest.map(o => o.metadata.name)).toEqual([])
}, 180_000)

test('B9: the plan of a standup holds no secret', async () => {
  const step = await world.main('standup', { 'dry-run': 'true' })
  expect(step.exitCode).toBe(0)
  const plan = await readFile(path.join(step.inputs.out!, 'plan.yaml'), 'utf8')
  expect(plan).toContain('REDACTED')
  expect(plan).not.toContain(hfToken)
  expect(plan).not.toContain(Buffer.from(hfToken).toString('base64'))
}, 180_000)

test('B8: a dry run changes nothing in the cluster', async () => {
  const writes = world.sandbox.api.requests().length
  const at = world.sandbox.snapshot()
  for (const mode of ['standup', 'run', 'teardown'] as const) {
    const step = await world.main(mode, { 'dry-run': 'true' })
    expect({ mode, exit: step.exitCode }).toEqual({ mode, exit: 0 })
  }
  const changing = world.sandbox.api
    .requests()
    .slice(writes)
    .filter(r => r.method !== 'GET' && !r.path.includes('selfsubject') && (r.userAgent ?? '').includes('bench-action'))
  expect(changing).toEqual([])
  expect(leftovers(at, world.sandbox.snapshot())).toEqual([])
}, 180_000)
