import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { type Inputs, parseInputs, type RunInputs, type StandupInputs } from '../../src/inputs.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { endpointOf } from '../../src/modes/endpoint.ts'
import { run } from '../../src/modes/run.ts'
import type { Session } from '../../src/modes/session.ts'
import { standup } from '../../src/modes/standup.ts'
import { model, namespace, startWorld, type World } from '../e2e/world.ts'

let world: World
let lines: string[] = []
const log: Log = { ...silentLog, info: line => void lines.push(line), warning: line => void lines.push(line) }

beforeAll(async () => {
  world = await startWorld()
}, 180_000)
afterAll(() => world?.close(), 60_000)

/** A mode as the command line asks for it, in this process. */
async function open<I extends Inputs>(
  mode: 'standup' | 'run',
  more: Readonly<Record<string, string>> = {},
): Promise<Session<I>> {
  const { 'github-token': _token, matrix: _matrix, ...given } = world.inputsOf[mode]
  const raw = Object.fromEntries(Object.entries({ ...given, ...more }).filter(([, value]) => value !== ''))
  const parsed = parseInputs(raw, { door: 'cli' })
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  lines = []
  return {
    inputs: parsed.ok as I,
    ...{ env: {}, log, signal: AbortSignal.timeout(90_000), github: undefined, attempt: 1, touch: () => undefined },
    ...{ runId: Math.random().toString(36).slice(2, 10), holder: 'cli/test', key: 'k', leg: 'baseline' },
    out: await mkdtemp(path.join(tmpdir(), 'bench-modes-')),
  }
}
const serverLogs = async (out: string): Promise<string[]> =>
  (await readdir(out)).filter(f => f.endsWith('.vllm.log')).sort()
const writes = () =>
  world.sandbox.api
    .requests()
    .filter(r => r.userAgent.includes('bench-action') && r.method !== 'GET' && !r.path.includes('selfsubject'))

test('B5: standup of a gated model without a token ends before it changes the cluster', async () => {
  const before = writes().length
  const outcome = await standup(await open<StandupInputs>('standup', { 'hf-token': '' }))
  expect(outcome.failure).toMatchObject({ code: 'INPUT', what: expect.stringContaining(model) })
  expect(writes().slice(before)).toEqual([])
})

test('B39: after a crash there is a log file of the model server, and its last words are in the failure', async () => {
  const session = await open<StandupInputs>('standup', { overrides: 'extraArgs: [--no-such-flag]' })
  const outcome = await standup(session)
  expect(outcome.failure?.code).toBe('MODEL_LOAD')
  const logs = (await readdir(session.out)).filter(f => /\.vllm(\.previous)?\.log$/.test(f))
  const texts = await Promise.all(logs.map(f => readFile(path.join(session.out, f), 'utf8')))
  expect(texts.join('\n')).toContain('unrecognized arguments: --no-such-flag')
  expect(outcome.failure?.evidence.join('\n')).toContain('unrecognized arguments: --no-such-flag')
}, 180_000)

test('B38, B39: a changed input is applied over what stands there, and the logs of both servers are kept', async () => {
  const session = await open<StandupInputs>('standup')
  const outcome = await standup(session)
  expect(outcome.failure).toBeUndefined()
  expect(lines.join('\n')).toMatch(/applied \d+ objects: 0 created, [12] changed/)
  const logs = await serverLogs(session.out)
  expect(logs).toHaveLength(2)
  for (const file of logs)
    expect(await readFile(path.join(session.out, file), 'utf8')).toContain('Application startup complete')
}, 180_000)

test('a token that expires before the planned end of the load is refused before a pod is made', async () => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = `${part({ alg: 'none' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600 })}.c2lnbmF0dXJl`
  world.sandbox.api.tokens.add({ name: 'short-lived', token })
  const before = writes().length
  // 4 repeats of the built-in profile: 32 minutes of load, the token lives for 10.
  const outcome = await run(
    await open<RunInputs>('run', {
      kubeconfig: world.sandbox.api.kubeconfig({ token }),
      'workload-overrides': '',
      repeats: '4',
    }),
  )
  expect(outcome.failure).toMatchObject({
    code: 'PREFLIGHT',
    what: expect.stringContaining('expires before the planned end'),
  })
  const pods = writes()
    .slice(before)
    .filter(r => r.method === 'POST' && r.path.endsWith('/pods') && r.body.includes('harness.sh'))
  expect(pods).toEqual([])
}, 180_000)

test('B58, B59: a profile that cannot be used is refused before the cluster is asked anything', async () => {
  const before = world.sandbox.api.requests().length
  const session = await open<RunInputs>('run', { 'workload-overrides': 'data.promt_tokens: 5' })
  await expect(run(session)).rejects.toThrow('data.promt_tokens')
  expect(
    world.sandbox.api
      .requests()
      .slice(before)
      .filter(r => r.userAgent.includes('bench-action')),
  ).toEqual([])
})

test('B54: of several labelled Gateways the one of the stack counts, and none is a failure that names the label', async () => {
  const api = new Api(loadKubeconfig({ kind: 'content', yaml: world.sandbox.kubeconfig }, undefined, {}), log)
  const other = { name: 'another', namespace, labels: { 'stood-up-via': 'modelservice' } }
  world.sandbox.api.store.create({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: other,
    spec: { gatewayClassName: 'none', listeners: [] },
  })
  const where = { namespace, signal: AbortSignal.timeout(20_000) }
  const gateway = 'infra-llmdbench-inference-gateway'
  expect(await endpointOf(api, { kind: 'auto' }, { ...where, gateway })).toBe(
    `http://${gateway}-istio.${namespace}.svc.cluster.local:80`,
  )
  await expect(endpointOf(api, { kind: 'auto' }, { ...where, gateway: 'gone' })).rejects.toThrow(
    'stood-up-via=modelservice',
  )
  world.sandbox.api.store.delete('gateways.gateway.networking.k8s.io', namespace, 'another')
  await api.close()
})

test('B52, B65, B66: run needs no word about the autoscaler; a repeat that does not finish in time fails and is cleaned up', async () => {
  const session = await open<RunInputs>('run', { 'wait-timeout': '5s', repeats: '2' })
  expect(Object.keys(session.inputs).filter(name => /wva|autoscal/i.test(name))).toEqual([])
  const outcome = await run(session)
  expect(outcome.failure).toMatchObject({
    code: 'HARNESS',
    what: expect.stringMatching(/^2 of 2 repeats failed.*did not finish in 5 s/),
  })
  expect(outcome.leg?.repeats.map(r => r.status)).toEqual(['failed', 'failed'])
  // B66: what the pods had written is fetched before they are deleted.
  const files = (await readdir(path.join(session.out, 'results'), { recursive: true })).map(String)
  expect(
    files
      .filter(f => f.endsWith('stdout.log'))
      .map(f => f.split('/')[0])
      .sort(),
  ).toEqual(['r1', 'r2'])
  expect(world.names('pods').filter(name => name.startsWith('llmdbench-'))).toEqual([])
}, 180_000)

test('B65: a harness that ended before anybody looked is judged by the exit code in the status of its container', async () => {
  const session = await open<RunInputs>('run', {
    'workload-overrides': 'rate: [1]\nmax_seconds: 1\ndata.prompt_tokens: 10\ndata.output_tokens: 10',
  })
  // The first list of pods is answered late: by then guidellm has ended.
  let ended = false
  world.sandbox.faults.api.add({
    match: r => {
      const first =
        r.method === 'GET' && r.path.endsWith('/pods') && (r.query.labelSelector ?? '').includes('bench-run')
      if (first) setTimeout(() => (ended = harnessEnded()), 9500).unref()
      return first
    },
    delayMs: 10_000,
    times: 1,
  })
  const outcome = await run(session)
  expect(ended).toBe(true)
  expect(outcome.failure).toBeUndefined()
  expect(outcome.leg?.repeats[0]).toMatchObject({ status: 'done', exitCode: 0 })
}, 180_000)

type Statuses = { containerStatuses?: { name: string; state?: { terminated?: unknown } }[] } | undefined
const harnessEnded = (): boolean =>
  world.sandbox.api.store
    .list('pods', namespace)
    .filter(p => p.metadata.name.startsWith('llmdbench-'))
    .some(p => (p.status as Statuses)?.containerStatuses?.some(c => c.name === 'harness' && c.state?.terminated))

test('another model is refused while a stack stands, and takes over volume and token once that has expired', async () => {
  const other = 'facebook/opt-125m'
  const refused = await standup(await open<StandupInputs>('standup', { model: other }))
  expect(refused.failure).toMatchObject({ code: 'PREFLIGHT', what: expect.stringContaining('already holds the stack') })
  const first = await standup(await open<StandupInputs>('standup', { ttl: '1s' }))
  expect(first.failure).toBeUndefined()
  const volume = world.sandbox.api.store.get('persistentvolumeclaims', namespace, 'model-pvc')
  await new Promise(resolve => setTimeout(resolve, 1100))
  const next = await standup(await open<StandupInputs>('standup', { model: other }))
  expect(next.failure).toBeUndefined()
  expect(lines.join('\n')).toMatch(/removing llm-d-bench\/llmdbench-meta-lla-\S+ of cli\/test first/)
  const kept = world.sandbox.api.store.get('persistentvolumeclaims', namespace, 'model-pvc')
  expect(kept?.metadata.uid).toBe(volume?.metadata.uid)
  expect(kept?.metadata.labels?.['llm-d.ai/bench-stack']).toBe(next.outputs.stack)
  expect(world.names('deployments.apps').filter(n => n.startsWith('meta-lla'))).toEqual([])
}, 180_000)
