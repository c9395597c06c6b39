import { createServer } from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import { parse, stringify } from 'yaml'
import type { SandboxOptions } from '../sandbox/sandbox.ts'
import { namespace, startWorld, type World } from './world.ts'

let world: World
afterEach(() => world?.close(), 60_000)

interface Case {
  readonly name: string
  readonly code: string
  /** Texts that the log must hold: what happened, and what to do next. */
  readonly says: readonly (string | RegExp)[]
  readonly sandbox?: SandboxOptions
  readonly hubInCluster?: boolean
  readonly inputs?: Record<string, string>
  readonly prepare?: (world: World) => void | Promise<void>
  /** Nothing of the stack may have been created. */
  readonly untouched?: boolean
}

/** A kubeconfig with another server or token. */
function changed(kubeconfig: string, patch: { server?: string; token?: string }): string {
  const config = parse(kubeconfig)
  if (patch.server) config.clusters[0].cluster.server = patch.server
  if (patch.token) config.users[0].user = { token: patch.token }
  return stringify(config)
}

const standupCases: Case[] = [
  {
    name: 'a server that cannot be reached',
    code: 'PREFLIGHT',
    says: ['cannot be reached (ECONNREFUSED)', 'attempt 2 of 5', 'HTTPS_PROXY'],
    untouched: true,
    prepare: async w => {
      const server = createServer().listen(0, '127.0.0.1')
      await new Promise(resolve => server.once('listening', resolve))
      const { port } = server.address() as { port: number }
      await new Promise(resolve => server.close(resolve))
      w.inputsOf.standup.kubeconfig = changed(w.sandbox.kubeconfig, { server: `https://127.0.0.1:${port}` })
    },
  },
  {
    name: 'B40: refused credentials (401)',
    code: 'PREFLIGHT',
    says: ['refused the credentials', 'kubectl create token'],
    untouched: true,
    prepare: w => {
      w.inputsOf.standup.kubeconfig = changed(w.sandbox.kubeconfig, { token: 'not-the-right-token-0123456789' })
    },
  },
  {
    name: 'B40: a missing right (403)',
    code: 'PREFLIGHT',
    says: ['create deployments.apps in llm-d-bench', 'docs/rbac.md'],
    untouched: true,
    prepare: w => {
      const token = w.sandbox.api.tokens.add({
        name: 'limited',
        policy: r => !(r.verb === 'create' && r.resource === 'deployments'),
      })
      w.inputsOf.standup.kubeconfig = changed(w.sandbox.kubeconfig, { token })
    },
  },
  {
    name: 'B40: a missing custom resource definition',
    code: 'PLATFORM',
    says: ['inference extension', 'kubectl apply --server-side -k', 'InferencePool'],
    untouched: true,
    sandbox: { omitCrds: ['inferencepools.inference.networking.k8s.io'] },
  },
  {
    name: 'B16: no node with a GPU label',
    code: 'GPU_SHORTAGE',
    says: ['No node of the cluster is known to have GPUs', 'accelerator'],
    untouched: true,
    sandbox: { nodes: [{ name: 'cpu-a', gpus: 0, labels: {} }] },
  },
  {
    name: 'B34: pods that cannot be scheduled',
    code: 'GPU_SHORTAGE',
    says: ['Insufficient nvidia.com/gpu', 'event FailedScheduling', 'lower `replicas`'],
    inputs: { replicas: '40', timeouts: 'schedule: 1s' },
  },
  {
    name: 'B34: an image that cannot be pulled',
    code: 'IMAGE_PULL',
    says: [/cannot pull the image of container (vllm|wait-for-weights)/, 'image-pull-secret', /event (Failed|BackOff)/],
    inputs: { 'vllm-image': 'ghcr.io/llm-d/llm-d-cuda:missing' },
  },
  {
    name: 'B34, B40: a model server that crashes',
    code: 'MODEL_LOAD',
    says: ['crashes (exit code', 'last lines of', 'Read its last lines'],
    inputs: { 'vllm-image': 'ghcr.io/llm-d/llm-d-cuda:crash' },
  },
  {
    // The runner still reaches the hub, the cluster does not.
    name: 'B24: a download that fails',
    code: 'MODEL_DOWNLOAD',
    says: ['Job download-model did not become ready', 'last lines of', 'model hub'],
    hubInCluster: false,
  },
]

describe('a failing cluster gives its code, evidence and a next step', () => {
  test.each(standupCases)(
    'standup: $name -> $code',
    async c => {
      world = await startWorld({
        ...(c.sandbox ? { sandbox: c.sandbox } : {}),
        ...(c.hubInCluster === undefined ? {} : { hubInCluster: c.hubInCluster }),
      })
      await c.prepare?.(world)
      const step = await world.main('standup', c.inputs)
      expect(step.exitCode).toBe(1)
      const text = `${step.stdout}\n${step.stderr}`
      expect({ code: step.outputs['failure-code'], text: step.outputs['failure-code'] === c.code ? '' : text }).toEqual(
        { code: c.code, text: '' },
      )
      for (const piece of c.says)
        expect(text).toMatch(
          typeof piece === 'string' ? new RegExp(piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : piece,
        )
      if (c.untouched)
        expect(
          world.sandbox.api.store
            .list('configmaps', namespace)
            .filter(o => o.metadata.labels?.['llm-d.ai/bench-stack']),
        ).toEqual([])
      if (!c.untouched) {
        // B40: a failed standup says so in the comment and in the summary too.
        expect(step.summary).toContain(c.code)
        expect(
          world.github
            .comments()
            .map(x => x.body)
            .join(),
        ).toContain(c.code)
      }
    },
    120_000,
  )

  test('B34: standup: a volume that cannot be mounted -> MODEL_LOAD', async () => {
    world = await startWorld()
    const step = await world.main('standup', {
      'model-source': 'pvc://no-such-claim/models/x',
      'model-cache-size': '',
      timeouts: 'ready: 20s\nschedule: 5s',
    })
    expect(step.exitCode).toBe(1)
    expect(step.stdout).toMatch(/no-such-claim/)
    expect(['MODEL_LOAD', 'GPU_SHORTAGE']).toContain(step.outputs['failure-code'])
  }, 180_000)
})

const runCases: Case[] = [
  {
    name: 'B66: guidellm ends with exit code 3',
    code: 'HARNESS',
    says: ['exit code 3', 'last lines of'],
    sandbox: { env: { FAKE_GUIDELLM_EXIT: '3' } },
  },
  {
    name: 'an empty report',
    code: 'RESULTS',
    says: [/empty|wrote no results/i, 'stdout.log'],
    sandbox: { env: { FAKE_GUIDELLM_EMPTY: '1' } },
  },
  {
    name: 'a truncated report',
    code: 'RESULTS',
    says: [/ends in the middle|truncated|not JSON/i, 'stdout.log'],
    sandbox: { env: { FAKE_GUIDELLM_TRUNCATE: '1' } },
  },
]

test.each(runCases)(
  'run: $name -> $code, and what was written is published',
  async c => {
    world = await startWorld({ sandbox: c.sandbox! })
    expect((await world.main('standup')).exitCode).toBe(0)
    const step = await world.main('run')
    expect(step.exitCode).toBe(1)
    const text = `${step.stdout}\n${step.stderr}`
    expect({ code: step.outputs['failure-code'], text: step.outputs['failure-code'] === c.code ? '' : text }).toEqual({
      code: c.code,
      text: '',
    })
    for (const piece of c.says) expect(text).toMatch(typeof piece === 'string' ? new RegExp(piece) : piece)
    const results = [...world.github.artifacts()].find(([n]) => n.includes('.results.'))
    expect(Object.keys(results?.[1].files ?? {}).some(n => n.endsWith('stdout.log'))).toBe(true)
    expect(world.github.comments()[0]?.body).toContain(c.code)
    expect(
      world.sandbox.api.store.list('pods', namespace).filter(p => p.metadata.name.startsWith('llmdbench-')),
    ).toEqual([])
  },
  120_000,
)
