import { expect } from '@jest/globals'
import type { KubeObject } from '../../src/stack/kube.ts'
import type { SandboxOptions } from '../sandbox/sandbox.ts'
import { namespace, startWorld, type World } from './world.ts'

export type Step = Awaited<ReturnType<World['main']>>

export const wvaNamespace = 'llm-d-autoscaler'
/** Inputs of every step of the WVA leg. */
export const wvaLeg = { matrix: '{"wva": true}' }
const window = { 'settle-window': '1s' }
const direction = (seconds: number) =>
  `{stabilizationWindowSeconds: ${seconds}, policies: [{type: Pods, value: 10, periodSeconds: 15}]}`
export const wvaStandup = {
  ...{ ...wvaLeg, ...window, wva: 'true', timeouts: 'gates: 15s', 'max-replicas': '2' },
  'hpa-behavior': `scaleUp: ${direction(0)}\nscaleDown: ${direction(60)}`,
}
export const wvaRun = { ...wvaLeg, ...window }

/** A world whose autoscaling platform is there and has short intervals; a reset takes about two seconds. */
export async function startWvaWorld(sandbox: SandboxOptions = {}): Promise<World> {
  const wva = { reconcile: '300ms', scrape: '150ms', window: '1s', relist: '200ms' }
  const world = await startWorld({ sandbox: { wva, hpaSyncMs: 300, ...sandbox } })
  const all = () => world.sandbox.api.store.list('leases.coordination.k8s.io', wvaNamespace)
  // The controller's own Lease belongs to what was there before.
  await world.sandbox.until('the controller leads', () => all().length > 0)
  return world
}

/** The Lease of another model, which is somebody else's. */
export const foreignLease = 'llm-d-bench-wva-0123456789'
/** The Leases that bench-action made, wherever they are. */
export const benchLeases = (world: World): KubeObject[] =>
  world.sandbox.api.store
    .list('leases.coordination.k8s.io')
    .filter(lease => lease.metadata.name.startsWith('llm-d-bench') && lease.metadata.name !== foreignLease)

export const hpas = (world: World, of = namespace): KubeObject[] =>
  world.sandbox.api.store.list('horizontalpodautoscalers.autoscaling', of)
export const variants = (world: World, of = namespace): KubeObject[] =>
  world.sandbox.api.store.list('variantautoscalings.llmd.ai', of)

/** Waits for a step that must succeed; its log is in the message when it does not. */
export async function succeeded(running: Promise<Step>): Promise<Step> {
  const step = await running
  expect({ exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout + step.stderr }).toEqual({
    exit: 0,
    out: '',
  })
  return step
}

/** Post never fails a job: what it could not do it says as a warning, and here it has to do everything. */
export async function completePost(world: World, step: Step): Promise<void> {
  const { exitCode, stdout } = await world.post(step)
  const warnings = stdout.split('\n').filter(line => line.startsWith('::warning'))
  expect({ exitCode, warnings }).toEqual({ exitCode: 0, warnings: [] })
}
