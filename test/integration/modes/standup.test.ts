import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { parseInputs, type StandupInputs } from '../../../src/inputs.ts'
import { silentLog } from '../../../src/log.ts'
import type { Session } from '../../../src/modes/session.ts'
import { standup } from '../../../src/modes/standup.ts'
import { startWorld, type World } from '../../e2e/world.ts'

let world: World
const wva = { reconcile: '300ms', scrape: '150ms', window: '2s', relist: '200ms' }
beforeAll(async () => {
  world = await startWorld({ sandbox: { wva, hpaSyncMs: 300 } })
}, 60_000)
afterAll(() => world?.close(), 60_000)

const lines: string[] = []
async function session(): Promise<Session<StandupInputs>> {
  const { 'github-token': _token, matrix: _matrix, ...given } = world.inputsOf.standup
  const parsed = parseInputs({ ...given, wva: 'true', 'settle-window': '2s', timeouts: 'gates: 15s' }, { door: 'cli' })
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  return {
    inputs: parsed.ok as StandupInputs,
    log: { ...silentLog, info: line => void lines.push(line) },
    ...{ env: {}, signal: AbortSignal.timeout(60_000), github: undefined, attempt: 1, touch: () => undefined },
    ...{ runId: 'r1', holder: 'cli/test', key: 'k', leg: 'wva', out: await mkdtemp(path.join(tmpdir(), 'bench-')) },
  }
}
/** Position of the first write of ours to a collection. */
const first = (resource: string): number =>
  world.sandbox.api
    .requests()
    .findIndex(r => r.userAgent === 'llm-d-bench-action' && r.method !== 'GET' && r.path.includes(`/${resource}`))

test('under WVA the scalers come when the pods have answered, the HPA last, and a second standup changes nothing', async () => {
  expect((await standup(await session())).failure).toBeUndefined()
  const order = ['deployments/', 'pods', 'variantautoscalings/', 'horizontalpodautoscalers/'].map(first)
  expect(order).not.toContain(-1)
  expect(order).toEqual(order.toSorted((a, b) => a - b))
  lines.length = 0
  expect((await standup(await session())).failure).toBeUndefined()
  expect(lines).toContainEqual(
    expect.stringMatching(/0 created, 0 changed|the stack stands at its start state already/),
  )
  expect(lines).toContainEqual('the stack stands at its start state already, and the chain works')
}, 60_000)
