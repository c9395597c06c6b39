import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Api } from '../../src/cluster/api.ts'
import { apply, remove } from '../../src/cluster/objects.ts'
import { Observer } from '../../src/cluster/observer.ts'
import { type Scalers, watchScalers } from '../../src/modes/scalers.ts'
import { findInventory } from '../../src/modes/session.ts'
import { reset } from '../../src/modes/settle.ts'
import { horizontalPodAutoscaler, variantAutoscaling } from '../../src/stack/components/autoscaling.ts'
import { namespace, shortProfile } from '../e2e/world.ts'
import { Chain, hpaBehavior } from './wva-chain.ts'
import { pause } from './wva-platform.ts'

const windowMs = 6000
const downSeconds = 15
const deployments = 'deployments.apps'
const signal = AbortSignal.timeout(600_000)
let chain: Chain
let api: Api
let observer: Observer
let scalers: Scalers

beforeAll(async () => {
  chain = await Chain.start({ window: `${windowMs}ms` })
  await chain.stands({ 'max-replicas': '6', 'hpa-behavior': hpaBehavior(0, downSeconds) })
  api = chain.api()
  const { inventory } = (await findInventory(api, namespace, signal))!
  observer = new Observer(api, namespace, chain.log, signal)
  await watchScalers(observer, inventory.stack)
  const target = { ...inventory, autoscaling: inventory.autoscaling! }
  scalers = { api, target, observer, gateMs: 20_000, signal, log: chain.log }
}, 180_000)
afterAll(async () => {
  await observer?.close()
  await api?.close()
  await chain?.close()
}, 180_000)

const ready = () => (chain.peek(deployments)?.status as { readyReplicas?: number } | undefined)?.readyReplicas ?? 0
/** Loads the stack until WVA and the HPA have made it three replicas or more, and then lets it be. */
async function scaleUp(clients?: number): Promise<void> {
  const stop = chain.load(clients)
  await chain.sandbox.until('3 replicas', () => ready() >= 3, 40_000)
  await stop()
}
/** The highest number of replicas that anybody asks for, and of decode pods that are there, for a while. */
async function highest(ms: number): Promise<{ asked: number; pods: number }> {
  const seen = { asked: 0, pods: 0 }
  const look = () => {
    seen.asked = Math.max(seen.asked, chain.replicas ?? 0)
    seen.pods = Math.max(seen.pods, chain.pods().length)
  }
  const stop = chain.sandbox.api.store.subscribe(look)
  look()
  await pause(ms)
  stop()
  return seen
}
const atRest = async () => {
  expect(chain.desired).toBe(1)
  expect(await chain.metric()).toEqual(['1'])
  expect(await highest(5000)).toEqual({ asked: 1, pods: 1 })
}

test('the obvious order poisons the next repeat: WVA decides from what was before, and the HPA follows', async () => {
  await scaleUp()
  for (const object of [horizontalPodAutoscaler(scalers.target), variantAutoscaling(scalers.target)])
    await remove(api, object, { signal })
  chain.scale({ resource: deployments, namespace, name: chain.decode }, 1)
  await apply(api, variantAutoscaling(scalers.target), { signal })
  await chain.sandbox.until('a decision', () => chain.desired !== undefined)
  expect(chain.desired).toBeGreaterThan(1)
  await chain.sandbox.until('one replica', () => ready() === 1 && chain.pods().length === 1)
  // Whatever was before is out of the window; the decision is frozen all the same.
  await pause(windowMs + 2000)
  expect(chain.desired).toBeGreaterThan(1)
  expect(chain.replicas).toBe(1)
  await apply(api, horizontalPodAutoscaler(scalers.target), { signal })
  await chain.sandbox.until('the HPA to follow', () => (chain.replicas ?? 0) > 1)
}, 180_000)

test('B50: a reset brings the same stack to 1 replica that WVA, metric and HPA agree on, and there it stays', async () => {
  await scaleUp()
  expect(await reset(scalers, { windowMs, fresh: false })).toEqual({
    ...{ how: 'reset', tries: 1, seconds: expect.any(Number) },
  })
  await atRest()
}, 180_000)

test('a reset whose window is shorter than the one of the controller tries again until WVA decides for what is there', async () => {
  await scaleUp()
  const settled = await reset(scalers, { windowMs: 2000, fresh: false })
  expect(settled).not.toHaveProperty('carriedOver')
  expect(settled.tries).toBeGreaterThan(1)
  expect(chain.text).toMatch(/WVA has decided for \d+ replicas while 1 is there; once more/)
  await atRest()
}, 180_000)

test('a load that stays ends a reset after three tries, carried over and with an HPA', async () => {
  let stop: (() => Promise<void>) | undefined
  chain.whenSaid(/^reset 4 of 6/, () => {
    stop = chain.load()
  })
  const settled = await reset(scalers, { windowMs, fresh: false })
  await stop?.()
  expect(settled).toMatchObject({ how: 'reset', tries: 3 })
  expect(settled.carriedOver).toMatch(/^WVA has decided for \d+ replicas while 1 is there$/)
  expect(chain.peek('horizontalpodautoscalers.autoscaling')).toBeDefined()
}, 180_000)

test('`settle: 0s` starts where the stack stands and says so; a duration waits until the HPA has taken the replicas away', async () => {
  const load = { 'workload-overrides': shortProfile('[1]') }
  await reset(scalers, { windowMs, fresh: false })
  await scaleUp(6)
  expect(ready()).toBeGreaterThan(1)
  const at = await chain.run({ ...load, settle: '0s' })
  expect(at.failure).toBeUndefined()
  expect(at.leg?.repeats[0]).toMatchObject({
    ...{ carriedOver: true, settled: { how: 'none', tries: 0 } },
    ...{ settled: { carriedOver: expect.stringMatching(/^the Deployment asks for \d+ replicas$/) } },
  })

  const waited = await chain.run({ ...load, settle: '120s' })
  expect(waited.failure).toBeUndefined()
  const [repeat] = waited.leg!.repeats
  expect(repeat).toMatchObject({ carriedOver: false, startReplicas: 1, settled: { how: 'waited', tries: 0 } })
}, 180_000)
