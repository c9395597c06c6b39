import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { type Inputs, parseInputs, type RunInputs, type StandupInputs } from '../../src/inputs.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { removeHarness, removeOwnStack } from '../../src/modes/clean.ts'
import { run } from '../../src/modes/run.ts'
import type { Session } from '../../src/modes/session.ts'
import { standup } from '../../src/modes/standup.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { startWorld, type World } from '../e2e/world.ts'
import type { Condition } from '../sandbox/controllers/objects.ts'

let world: World
let api: Api
let lines: string[] = []
const log: Log = { ...silentLog, info: line => void lines.push(line), warning: line => void lines.push(line) }
const said = () => lines.join('\n')

beforeAll(async () => {
  world = await startWorld({
    sandbox: { wva: { reconcile: '300ms', scrape: '150ms', window: '2s', relist: '200ms' }, hpaSyncMs: 300 },
  })
  api = new Api(loadKubeconfig({ kind: 'content', yaml: world.sandbox.kubeconfig }, undefined, {}), log)
}, 180_000)
afterAll(async () => {
  await api?.close()
  await world?.close()
}, 180_000)

/** A step of a job whose stack ends with it, in this process; `of` is its namespace. */
async function open<I extends Inputs>(
  mode: 'standup' | 'run',
  of: string,
  more: Readonly<Record<string, string>> = {},
  holder = 'org/repo/1/leg',
): Promise<Session<I>> {
  const { 'github-token': _token, matrix: _matrix, ...given } = world.inputsOf[mode]
  const lifetime: Record<string, string> = mode === 'standup' ? { lifetime: 'job' } : {}
  const parsed = parseInputs({ ...given, ...lifetime, namespace: of, ...more }, { door: 'cli' })
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  lines = []
  return {
    inputs: parsed.ok as I,
    ...{ env: {}, log, signal: AbortSignal.timeout(90_000), github: undefined, attempt: 1, touch: () => undefined },
    ...{ runId: Math.random().toString(36).slice(2, 10), holder, key: 'k', leg: 'leg' },
    out: await mkdtemp(path.join(tmpdir(), 'bench-keep-')),
  }
}
const post = async (session: Session<Inputs>): Promise<void> => {
  lines = []
  await (session.inputs.mode === 'run' ? removeHarness : removeOwnStack)(api, session)
}

const decode = (of: string): KubeObject | undefined =>
  world.sandbox.api.store.list('deployments.apps', of).find(d => d.metadata.name.endsWith('-decode'))
const wanted = (of: string) => (decode(of)?.spec as { replicas?: number } | undefined)?.replicas
const keepOf = (of: string) =>
  world.sandbox.api.store.get('configmaps', of, 'llm-d-bench-inventory')?.metadata.annotations?.['llm-d.ai/bench-keep']
/** Seconds for which the Lease of the namespace lasts without a renewal; undefined without a Lease. */
const leaseSeconds = (of: string) =>
  (
    world.sandbox.api.store.peek('leases.coordination.k8s.io', of, 'llm-d-bench')?.spec as
      | { leaseDurationSeconds?: number }
      | undefined
  )?.leaseDurationSeconds
const stackPods = (of: string) => world.names('pods', of).filter(name => name.includes('-decode-'))

const crash = { overrides: 'extraArgs: [--no-such-flag]' }
const tooShort = { 'wait-timeout': '1s', repeats: '1' }

describe('after a standup that failed', () => {
  test('keep-on-failure: evidence leaves the stack until its expiry, scaled to 0, and says so', async () => {
    const session = await open<StandupInputs>('standup', 'keep-evidence', { ...crash, 'keep-on-failure': 'evidence' })
    expect((await standup(session)).failure?.code).toBe('MODEL_LOAD')
    // Until the end of the job a later step may still look at the pods.
    expect(wanted('keep-evidence')).toBe(2)
    await post(session)
    expect(said()).toMatch(/post: kept for evidence until \d{4}-\S+ \(scaled to 0\); remove it with mode: teardown/)
    expect(wanted('keep-evidence')).toBe(0)
    await world.sandbox.until('no decode pod', () => stackPods('keep-evidence').length === 0)
    expect(world.names('services', 'keep-evidence').length).toBeGreaterThan(0)
    expect(leaseSeconds('keep-evidence')).toBeGreaterThan(5 * 3600)
  }, 180_000)

  test('keep-on-failure: all leaves it as it is until its expiry', async () => {
    const session = await open<StandupInputs>('standup', 'keep-all', { ...crash, 'keep-on-failure': 'all' })
    expect((await standup(session)).failure?.code).toBe('MODEL_LOAD')
    const pods = stackPods('keep-all')
    await post(session)
    expect(said()).toMatch(/post: kept for evidence until \d{4}-\S+; remove it with mode: teardown/)
    expect(wanted('keep-all')).toBe(2)
    expect(stackPods('keep-all')).toEqual(pods)
    expect(leaseSeconds('keep-all')).toBeGreaterThan(5 * 3600)
  }, 180_000)

  test('keep-on-failure: none, the default, removes it and frees the namespace', async () => {
    const session = await open<StandupInputs>('standup', 'keep-none', crash)
    expect((await standup(session)).failure?.code).toBe('MODEL_LOAD')
    await post(session)
    expect(decode('keep-none')).toBeUndefined()
    expect(leaseSeconds('keep-none')).toBeUndefined()
  }, 180_000)

  test('what is kept is refused to another run before its expiry, and removed first by one after it', async () => {
    const of = 'keep-expires'
    const first = await open<StandupInputs>('standup', of, { ...crash, 'keep-on-failure': 'evidence', ttl: '8s' })
    expect((await standup(first)).failure?.code).toBe('MODEL_LOAD')
    await post(first)
    const left = decode(of)?.metadata.uid
    const early = await open<StandupInputs>('standup', of, { lock: 'fail' }, 'org/repo/2/leg')
    expect((await standup(early)).failure).toMatchObject({
      code: 'LOCKED',
      what: expect.stringContaining('is held by org/repo/1/leg'),
    })
    expect(decode(of)?.metadata.uid).toBe(left)
    const late = await open<StandupInputs>('standup', of, {}, 'org/repo/2/leg')
    expect((await standup(late)).failure).toBeUndefined()
    expect(said()).toMatch(/removing keep-expires\/llmdbench-\S+ of org\/repo\/1\/leg first/)
    expect(decode(of)?.metadata.uid).not.toBe(left)
    expect(wanted(of)).toBe(2)
    await post(late)
    expect(decode(of)).toBeUndefined()
  }, 180_000)
})

test('after a run that failed the post step of standup keeps the stack as that run asked, and its Lease lasts as long', async () => {
  const of = 'keep-run'
  const stood = await open<StandupInputs>('standup', of)
  expect((await standup(stood)).failure).toBeUndefined()
  const all = await open<RunInputs>('run', of, { ...tooShort, 'keep-on-failure': 'all' })
  expect((await run(all)).failure?.code).toBe('HARNESS')
  await post(all)
  expect(leaseSeconds(of)).toBeGreaterThan(5 * 3600)
  await post(stood)
  expect(said()).toMatch(/post: kept for evidence until/)
  expect(wanted(of)).toBe(2)

  const evidence = await open<RunInputs>('run', of, { ...tooShort, 'keep-on-failure': 'evidence' })
  expect((await run(evidence)).failure?.code).toBe('HARNESS')
  await post(stood)
  expect(said()).toContain('(scaled to 0)')
  expect(wanted(of)).toBe(0)

  // The same job tries again: what failed before does not keep what serves now.
  const again = await open<StandupInputs>('standup', of)
  expect((await standup(again)).failure).toBeUndefined()
  expect(said()).toContain('was kept after a failure; it is in use again')
  expect(keepOf(of)).toBeUndefined()
  expect(wanted(of)).toBe(2)

  const none = await open<RunInputs>('run', of, tooShort)
  expect((await run(none)).failure?.code).toBe('HARNESS')
  expect(leaseSeconds(of)).toBe(15 * 60)
  await post(again)
  expect(decode(of)).toBeUndefined()
}, 180_000)

test('under WVA nothing brings back the replicas of a stack that is kept for evidence, until a standup takes it into use', async () => {
  const of = 'keep-wva'
  const wva = { wva: 'true', 'settle-window': '2s', timeouts: 'gates: 20s' }
  const stood = await open<StandupInputs>('standup', of, wva)
  expect((await standup(stood)).failure).toBeUndefined()
  const failing = await open<RunInputs>('run', of, {
    ...tooShort,
    'settle-window': '2s',
    'keep-on-failure': 'evidence',
  })
  expect((await run(failing)).failure?.code).toBe('HARNESS')
  await post(failing)
  await post(stood)
  const hpa = () => world.sandbox.api.store.list('horizontalpodautoscalers.autoscaling', of)[0]
  const active = () =>
    (hpa()?.status as { conditions?: Condition[] } | undefined)?.conditions?.find(c => c.type === 'ScalingActive')
  // WVA still publishes 1: an HPA that acted would set it within one period.
  await world.sandbox.until('the HPA to see it', () => active()?.reason === 'ScalingDisabled')
  await new Promise(resolve => setTimeout(resolve, 1500))
  expect(wanted(of)).toBe(0)
  expect(active()).toMatchObject({ status: 'False', reason: 'ScalingDisabled' })
  expect(world.names('variantautoscalings.llmd.ai', of)).toHaveLength(1)

  const again = await open<StandupInputs>('standup', of, wva)
  expect((await standup(again)).failure).toBeUndefined()
  expect(wanted(of)).toBe(1)
  await post(again)
  expect(decode(of)).toBeUndefined()
  expect(hpa()).toBeUndefined()
}, 180_000)
