import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { githubContext } from '../../src/github/event.ts'
import { holderOf } from '../../src/github/naming.ts'
import { type Inputs, parseInputs, type StandupInputs, type TeardownInputs } from '../../src/inputs.ts'
import { type Log, silentLog } from '../../src/log.ts'
import type { Session } from '../../src/modes/session.ts'
import { standup } from '../../src/modes/standup.ts'
import { teardown } from '../../src/modes/teardown.ts'
import { namespace, startWorld, type World } from '../e2e/world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld({
    sandbox: { wva: { reconcile: '300ms', scrape: '150ms', window: '2s', relist: '200ms' }, hpaSyncMs: 300 },
  })
}, 180_000)
afterAll(() => world?.close(), 60_000)

/** A step of one leg of a matrix, in this process. */
async function open<I extends Inputs>(
  mode: 'standup' | 'teardown',
  leg: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ session: Session<I>; lines: string[] }> {
  const lines: string[] = []
  const log: Log = { ...silentLog, info: line => void lines.push(line), warning: line => void lines.push(line) }
  const parsed = parseInputs({ ...world.inputsOf[mode], matrix: JSON.stringify({ leg }), ...more }, { door: 'action' })
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  const github = githubContext(world.github.env)!
  const session = {
    ...{ inputs: parsed.ok as I, env: {}, log, signal: AbortSignal.timeout(90_000), github },
    ...{ attempt: 1, touch: () => undefined, runId: Math.random().toString(36).slice(2, 10), key: 'k', leg },
    holder: holderOf(github, leg),
    out: await mkdtemp(path.join(tmpdir(), 'bench-shared-')),
  }
  return { session, lines }
}
const decodes = () => world.names('deployments.apps').filter(name => name.endsWith('-decode'))
const wvaInputs = { wva: 'true', 'settle-window': '2s', timeouts: 'gates: 20s' }

test('two legs of one matrix in one namespace take turns by themselves, and neither tears the other down', async () => {
  const first = await open<StandupInputs>('standup', 'baseline')
  expect((await standup(first.session)).failure).toBeUndefined()

  const second = await open<StandupInputs>('standup', 'wva', wvaInputs)
  const waiting = standup(second.session)
  await world.sandbox.until('the second leg to wait', () => second.lines.some(l => l.includes(first.session.holder)))
  const early = await open<TeardownInputs>('teardown', 'wva')
  expect((await teardown(early.session)).failure).toMatchObject({
    code: 'LOCKED',
    what: `The stack in ${namespace} belongs to ${first.session.holder}.`,
  })
  expect(decodes()).toHaveLength(1)

  expect((await teardown((await open<TeardownInputs>('teardown', 'baseline')).session)).failure).toBeUndefined()
  expect((await waiting).failure).toBeUndefined()
  expect(world.names('horizontalpodautoscalers.autoscaling')).toHaveLength(1)
  expect(world.names('leases.coordination.k8s.io')).toEqual(['llm-d-bench'])
  expect(world.names('leases.coordination.k8s.io', 'llm-d-autoscaler')).toContainEqual(
    expect.stringMatching(/^llm-d-bench-wva-[0-9a-f]{10}$/),
  )
}, 180_000)

test('a leg without WVA is refused where an HPA scales its Deployment', async () => {
  const hpa = world.sandbox.api.store.list('horizontalpodautoscalers.autoscaling', namespace)[0]!
  expect((await teardown((await open<TeardownInputs>('teardown', 'wva')).session)).failure).toBeUndefined()
  const { name } = hpa.metadata
  world.sandbox.api.store.create({ ...hpa, metadata: { name, namespace } })
  const { session } = await open<StandupInputs>('standup', 'baseline')
  expect((await standup(session)).failure).toMatchObject({
    code: 'PREFLIGHT',
    what: `The HPA ${name} scales the Deployment of this leg.`,
  })
  expect(decodes()).toEqual([])
  // Where nothing was built nobody has to wait.
  expect(world.names('leases.coordination.k8s.io')).toEqual([])
  world.sandbox.api.store.delete('horizontalpodautoscalers.autoscaling', namespace, name)
}, 180_000)

test('lock: force in a teardown removes what another run holds, with both Leases', async () => {
  expect((await standup((await open<StandupInputs>('standup', 'wva', wvaInputs)).session)).failure).toBeUndefined()
  const { session } = await open<TeardownInputs>('teardown', 'somebody', { lock: 'force' })
  expect((await teardown(session)).failure).toBeUndefined()
  expect(decodes()).toEqual([])
  expect(world.names('leases.coordination.k8s.io')).toEqual([])
  expect(world.names('leases.coordination.k8s.io', 'llm-d-autoscaler').filter(n => n.includes('bench'))).toEqual([])
}, 180_000)
