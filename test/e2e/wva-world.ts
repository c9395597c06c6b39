import type { KubeObject } from '../../src/stack/kube.ts'
import type { SandboxOptions } from '../sandbox/sandbox.ts'
import { namespace, startWorld, type World } from './world.ts'

export const wvaNamespace = 'llm-d-autoscaler'
/** Inputs of every step of the WVA leg. */
export const wvaLeg = { matrix: '{"wva": true}' }
const window = { 'settle-window': '1s' }
const direction = (seconds: number) =>
  `{stabilizationWindowSeconds: ${seconds}, policies: [{type: Pods, value: 10, periodSeconds: 15}]}`
export const wvaStandup = {
  ...wvaLeg,
  ...window,
  wva: 'true',
  timeouts: 'gates: 15s',
  'max-replicas': '2',
  'hpa-behavior': `scaleUp: ${direction(0)}\nscaleDown: ${direction(60)}`,
}
export const wvaRun = { ...wvaLeg, ...window }

/** A world whose autoscaling platform is there and has short intervals; a reset takes about two seconds. */
export async function startWvaWorld(sandbox: SandboxOptions = {}): Promise<World> {
  const wva = { reconcile: '300ms', scrape: '150ms', window: '1s', relist: '200ms' }
  const world = await startWorld({ sandbox: { wva, hpaSyncMs: 300, ...sandbox } })
  // The controller's own Lease belongs to what was there before.
  await world.sandbox.until('the controller leads', () => leases(world, wvaNamespace).length > 0)
  return world
}

export const leases = (world: World, of = namespace): KubeObject[] =>
  world.sandbox.api.store.list('leases.coordination.k8s.io', of)

/** The Leases that bench-action made, wherever they are. */
export const benchLeases = (world: World): KubeObject[] =>
  world.sandbox.api.store
    .list('leases.coordination.k8s.io')
    .filter(lease => /^llm-d-bench(-wva-[0-9a-f]{10})?$/.test(lease.metadata.name))

export const hpas = (world: World, of = namespace): KubeObject[] =>
  world.sandbox.api.store.list('horizontalpodautoscalers.autoscaling', of)
export const variants = (world: World, of = namespace): KubeObject[] =>
  world.sandbox.api.store.list('variantautoscalings.llmd.ai', of)

/**
 * Every object with its uid and what its owner wrote into it, one line each. Events come and go, and the controller's
 * Lease is renewed by itself.
 */
export const identities = (world: World): string[] => {
  const { store } = world.sandbox.api
  return store.registry
    .all()
    .flatMap(kind => store.peekAll(kind.id))
    .filter(o => o.kind !== 'Event')
    .map(o => {
      const { uid, name, namespace: of = '', generation = 0, labels = {}, annotations = {} } = o.metadata
      const text = o.kind === 'Lease' ? '' : JSON.stringify([generation, labels, annotations, o.data])
      return `${o.kind} ${of}/${name} ${uid} ${text}`
    })
}
