import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { inventoryName } from '../../src/stack/kube.ts'
import { addBystanders } from './bystanders.ts'
import { expectKilled, killAt } from './kill-at.ts'
import { namespace, type World } from './world.ts'
import { benchLeases, completePost, type Step, startWvaWorld, succeeded, wvaRun, wvaStandup } from './wva-world.ts'

type Mode = 'standup' | 'run' | 'teardown'
type More = Readonly<Record<string, string>>

let world: World
let expectClean: () => void
beforeAll(async () => {
  world = await startWvaWorld()
  expectClean = await addBystanders(world)
}, 180_000)
afterEach(() => expectClean())
afterAll(() => world?.close(), 60_000)

/** A step of a workflow run, and what its log says while it goes on. */
function start(runId: number, mode: Mode, more: More = {}, onOutput: (text: string) => void = () => undefined) {
  let log = ''
  const listeners = new Set<() => void>()
  // So that one test that fails does not hold up the next for half an hour.
  const patience: More = mode === 'standup' ? { 'lock-timeout': '60s' } : {}
  const done = world.main(
    mode,
    { ...patience, ...more },
    {
      env: { GITHUB_RUN_ID: String(runId) },
      onOutput: text => {
        log += text
        onOutput(text)
        for (const listener of listeners) listener()
      },
    },
  )
  const says = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not said within 20 s: ${text}\n${log}`)), 20_000)
      const look = () => {
        if (!log.includes(text)) return
        clearTimeout(timer)
        listeners.delete(look)
        resolve()
      }
      listeners.add(look)
      look()
    })
  return { done, says, log: () => log }
}
const step = (runId: number, mode: Mode, more: More = {}): Promise<Step> => start(runId, mode, more).done

const holders = (): Record<string, unknown> =>
  Object.fromEntries(
    benchLeases(world).map(l => [l.metadata.name, (l.spec as { holderIdentity?: string }).holderIdentity]),
  )
const owner = (of = namespace): string | undefined =>
  world.sandbox.api.store.list('configmaps', of).find(o => o.metadata.name === inventoryName)?.metadata.annotations?.[
    'llm-d.ai/bench-holder'
  ]
/** Writes into the Leases of ours, as time or somebody else would. */
function changeLeases(change: (spec: Record<string, unknown>) => void): void {
  for (const { metadata } of benchLeases(world))
    world.sandbox.api.store.modify('leases.coordination.k8s.io', metadata.namespace, metadata.name, draft =>
      change(draft.spec as Record<string, unknown>),
    )
}
const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z')
const pods = (): string[] => world.sandbox.api.store.list('pods', namespace).map(p => p.metadata.uid!)

test('B91: two legs of a matrix that share a namespace run one after the other, and their results are kept apart', async () => {
  const said: string[] = []
  const job = async (leg: string, inputs: Record<'standup' | 'run', More>): Promise<string> => {
    const common = { matrix: `{"wva": ${leg === 'wva'}}`, strategy: '{"job-total": 2}' }
    const note = (text: string) => {
      for (const mark of ['applied ', 'left over: nothing']) if (text.includes(mark)) said.push(`${leg} ${mark.trim()}`)
    }
    const standup = start(4242, 'standup', { ...inputs.standup, ...common }, note)
    const steps = [await succeeded(standup.done)]
    steps.push(await succeeded(start(4242, 'run', { ...inputs.run, ...common }, note).done))
    steps.push(await succeeded(start(4242, 'teardown', common, note).done))
    for (const done of steps.toReversed()) await completePost(world, done)
    return standup.log()
  }
  const logs = await Promise.all([
    job('baseline', { standup: {}, run: {} }),
    job('wva', { standup: wvaStandup, run: wvaRun }),
  ])
  const [first, second] = said[0]?.startsWith('wva') ? ['wva', 'baseline'] : ['baseline', 'wva']
  expect(said).toEqual([first, second].flatMap(leg => [`${leg} applied`, `${leg} left over: nothing`]))
  const waiting = /waiting for Lease llm-d-bench in namespace llm-d-bench: held by (\S+) since/
  const waits = logs.flatMap(log => waiting.exec(log)?.[1] ?? [])
  expect(waits).toEqual([`llm-d/consumer/4242/${first}`])

  expect(world.github.comments()).toHaveLength(1)
  const names = [...world.github.artifacts().keys()]
  for (const leg of ['baseline', 'wva'])
    for (const stage of ['run', 'results', 'teardown'])
      expect(names.filter(name => name.endsWith(`.${leg}.${stage}.a1`))).toHaveLength(1)
  const legs = ['baseline', 'wva'].map(leg => {
    const artifact = [...world.github.artifacts()].find(([name]) => name.endsWith(`.${leg}.run.a1`))
    return JSON.parse(artifact![1].files['leg.json']!.toString('utf8'))
  })
  expect(legs.map(l => [l.leg, l.repeats.length])).toEqual([
    ['baseline', 1],
    ['wva', 1],
  ])
  const [comment] = world.github.comments()
  expect(comment?.body).toMatch(/baseline/)
  expect(comment?.body).toMatch(/wva/)
}, 180_000)

test('after a holder that was killed, without a post, the next waits until its Lease has run out and removes its stack first', async () => {
  const killer = killAt('reset 5 of 6', 'SIGKILL')
  const dead = await world.main('standup', wvaStandup, { ...killer, env: { GITHUB_RUN_ID: '5001' } })
  expectKilled(dead, killer, 'SIGKILL')
  const left = pods()
  expect(left).not.toEqual([])
  const next = start(5002, 'standup')
  await next.says('waiting for Lease llm-d-bench in namespace llm-d-bench: held by llm-d/consumer/5001/wva since')
  expect([owner(), pods()]).toEqual(['llm-d/consumer/5001/wva', left])
  changeLeases(spec => {
    spec.renewTime = microTime(Date.now() - 70_000)
  })
  await succeeded(next.done)
  const at = (text: RegExp) => next.log().search(text)
  expect(at(/was left behind: removing llm-d-bench\/\S+ of llm-d\/consumer\/5001\/wva first/)).toBeGreaterThan(0)
  expect(at(/applied 18 objects: 16 created/)).toBeGreaterThan(at(/was left behind/))
  expect(pods().filter(uid => left.includes(uid))).toEqual([])
  expect(owner()).toBe('llm-d/consumer/5002/baseline')
  // The Lease of the model went with the stack that it was taken for.
  expect(holders()).toEqual({ 'llm-d-bench': 'llm-d/consumer/5002/baseline' })
  await succeeded(step(5002, 'teardown'))
}, 180_000)

test('a stack of somebody else: lock: fail does not wait, run refuses, teardown does not remove it, lock: force does', async () => {
  await succeeded(step(6001, 'standup'))
  const holder = 'llm-d/consumer/6001/baseline'
  const stack = world.sandbox.snapshot().filter(line => !line.includes(' Event '))
  const expectRefused = ({ outputs, stdout }: Step, by: string) => {
    expect({ code: outputs['failure-code'], named: stdout.includes(by) }).toEqual({ code: 'LOCKED', named: true })
    expect(stack.filter(line => !world.sandbox.snapshot().includes(line))).toEqual([])
  }
  // The whole job of a leg that comes too late.
  const late = await step(6002, 'standup', { lock: 'fail' })
  expectRefused(late, holder)
  expectRefused(await step(6002, 'teardown'), holder)
  await completePost(world, late)
  expect([owner(), holders()]).toEqual([holder, { 'llm-d-bench': holder }])

  const thief = 'llm-d/consumer/6003/baseline'
  changeLeases(spec => {
    spec.holderIdentity = thief
  })
  const run = await step(6001, 'run')
  expectRefused(run, thief)
  expect(world.names('pods').filter(name => /^(llmdbench-guidellm|testinference)/.test(name))).toEqual([])
  await completePost(world, run)
  changeLeases(spec => {
    spec.holderIdentity = holder
  })
  await succeeded(step(6002, 'teardown', { lock: 'force' }))
}, 180_000)

test('two WVA legs of one model in two namespaces: the second waits for the Lease of the model', async () => {
  const other = 'llm-d-bench-b'
  await succeeded(step(7001, 'standup', wvaStandup))
  const second = start(7002, 'standup', { ...wvaStandup, namespace: other })
  await second.says('in namespace llm-d-autoscaler: held by llm-d/consumer/7001/wva since')
  expect(second.log()).toMatch(/waiting for Lease llm-d-bench-wva-[0-9a-f]{10} /)
  expect([owner(other), world.names('pods', other)]).toEqual([undefined, []])
  const first = await succeeded(step(7001, 'teardown', { matrix: '{"wva": true}' }))
  await succeeded(second.done)
  expect(first.stdout).toContain('left over: nothing')
  expect(owner(other)).toBe('llm-d/consumer/7002/wva')
  await succeeded(step(7002, 'teardown', { namespace: other, matrix: '{"wva": true}' }))
}, 180_000)
