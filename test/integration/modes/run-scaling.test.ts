import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { pause } from '../../../src/cluster/api.ts'
import type { RunInputs } from '../../../src/inputs.ts'
import { openScaling, withScalers } from '../../../src/modes/run-scaling.ts'
import type { Session } from '../../../src/modes/session.ts'
import type { WatchEvent } from '../../../src/results/schema.ts'
import { type Inventory, inventory, loadedAnnotation, readInventory } from '../../../src/stack/inventory.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { stepOf } from '../../unit/results/legs.ts'
import { specWith, standupRun } from '../../unit/stack/specs.ts'
import { controllerNamespace, ScaledStack, spec } from './scaled-stack.ts'

let stack: ScaledStack
beforeEach(async () => {
  stack = await ScaledStack.start()
  await stack.until('a pod', () => stack.pods().length === 1)
})
afterEach(() => stack.close())

const object = inventory(spec, stackObjects(spec), standupRun)
const loaded: KubeObject = {
  ...object,
  metadata: { ...object.metadata, annotations: { ...object.metadata.annotations, [loadedAnnotation]: 'r' } },
}
const standing: Inventory = readInventory(object)
const workload = { profile: 'p', rates: [1, 2], secondsPerRate: 120, sha256: '0'.repeat(64) }
const session = (settle: RunInputs['settle']) =>
  ({
    ...{ log: stack.log, signal: stack.stop.signal },
    inputs: { settle, settleWindowMs: 10 },
  }) as unknown as Session<RunInputs>
const open = (inventoryObject = object, settle: RunInputs['settle'] = { kind: 'reset' }) =>
  openScaling(stack.api, session(settle), standing, inventoryObject, workload)
const rest = async () => {
  stack.create('VariantAutoscaling')
  stack.create('HorizontalPodAutoscaler')
  await stack.until('the HPA', () => stack.hpa()?.status !== undefined)
}

describe('the start of a repeat', () => {
  test('is the one that standup has proven, once, as long as nothing was loaded since', async () => {
    await rest()
    const scaling = (await open())!
    expect(await scaling.settle()).toEqual({ how: 'proven', seconds: 0, tries: 0 })
    expect(await scaling.settle()).toMatchObject({ how: 'reset', tries: 1 })
    await scaling.close()
  })

  test('is a reset where an earlier run has loaded the stack', async () => {
    await rest()
    const scaling = (await open(loaded))!
    expect(await scaling.settle()).toMatchObject({ how: 'reset' })
    await scaling.close()
  })

  test('is a reset where the stack does not stand as standup has left it', async () => {
    await rest()
    stack.decideNow(2)
    const scaling = (await open())!
    expect(await scaling.settle()).toMatchObject({ how: 'reset' })
    expect(stack.lines.join('\n')).toContain('not at the start state: WVA has decided for 2 replicas')
    await scaling.close()
  })

  test('is only waited for when that is asked, and scalers that are missing are made first', async () => {
    const scaling = (await open(object, { kind: 'wait', ms: 0 }))!
    expect(await scaling.settle()).toMatchObject({ how: 'none', tries: 0 })
    expect([stack.hpa(), stack.variant()]).not.toContain(undefined)
    await scaling.close()
  })
})

describe('before any load', () => {
  test('it is said when a step is too short for WVA to help within it, by the interval of the controller', async () => {
    stack.server.store.create({
      ...{ apiVersion: 'v1', kind: 'ConfigMap', data: { GLOBAL_OPT_INTERVAL: '30s' } },
      metadata: { name: 'workload-variant-autoscaler-variantautoscaling-config', namespace: controllerNamespace },
    })
    const scaling = (await open())!
    expect(scaling.reaction.parts).toEqual({ window: 240, reconcile: 30, start: 0 })
    expect(stack.lines.join('\n')).toContain('longer than a step of 120 s')
    await scaling.close()
  })

  test('nothing is opened for a leg without WVA', async () => {
    const baseline = specWith()
    const without = readInventory(inventory(baseline, stackObjects(baseline), standupRun))
    const from = stack.asked
    expect(await openScaling(stack.api, session({ kind: 'reset' }), without, object, workload)).toBeUndefined()
    expect(await withScalers(stack.api, without, session({ kind: 'reset' }), async () => 1)).toBeUndefined()
    expect(stack.asked).toBe(from)
  })

  test('watches do not go on when it cannot be opened', async () => {
    stack.server.faults.add({ match: r => r.path.includes('variantautoscaling-config'), status: 500, times: 5 })
    await expect(open()).rejects.toThrow('injected by a test')
    const from = stack.asked
    stack.server.faults.dropWatches()
    await pause(600)
    expect(
      stack.server
        .requests()
        .slice(from)
        .filter(r => r.query.watch === 'true'),
    ).toEqual([])
  })
})

describe('what broke while the steps of a repeat were loaded', () => {
  const begin = 1_800_000_000
  const steps = [stepOf([], { begin, seconds: 300 }), stepOf([], { begin: begin + 300, seconds: 300 })]
  const at = (seconds: number) => (begin + seconds) * 1000
  const decided = (seconds: number): WatchEvent => ({
    ...{ at: at(seconds), kind: 'VariantAutoscaling', type: 'MODIFIED', name: 'd' },
    ...{ desired: 1, lastRun: begin + seconds },
  })
  const metric = (seconds: number, value: number | null): WatchEvent => ({
    ...{ at: at(seconds), kind: 'ExternalMetric', name: 'd', value },
  })
  const every = (seconds: number, to = 600) =>
    Array.from({ length: Math.floor(to / seconds) + 1 }, (_, i) => decided(i * seconds))
  const breaks = async (events: readonly WatchEvent[], clockOffsetMs = 0) => {
    const scaling = (await open())!
    const found = scaling.breaks({ steps, clockOffsetMs }, events)
    await scaling.close()
    return found.map(b => b.link)
  }

  test('is nothing when WVA decides with every reconcile', async () => {
    expect(await breaks(every(60))).toEqual([])
  })

  test('is the decision when it was not repeated for three intervals and the slack of its clock', async () => {
    expect(await breaks(every(182))).toEqual([])
    expect(await breaks(every(184))).toEqual(['decision', 'decision', 'decision'])
  })

  test('is the external metric when it was away for longer than one interval', async () => {
    const away = (seconds: number) => [...every(60), metric(100, null), metric(100 + seconds, 1)]
    expect(await breaks(away(60))).toEqual([])
    expect(await breaks(away(61))).toEqual(['external-metric'])
  })

  test('counts from the first step to the last, by the clock of the harness', async () => {
    expect(await breaks([...every(60), metric(-100, null), metric(-10, 1), metric(601, null)])).toEqual([])
    // The harness is 5 s ahead: what this runner saw until 5 s before was not under load.
    expect(await breaks([...every(60), metric(-100, null), metric(56, 1)])).toEqual([])
    expect(await breaks([...every(60), metric(-100, null), metric(56, 1)], 5000)).toEqual(['external-metric'])
  })

  test('is not looked for in a repeat without steps', async () => {
    const scaling = (await open())!
    expect(scaling.breaks({ steps: [] }, [])).toEqual([])
    await scaling.close()
  })
})
