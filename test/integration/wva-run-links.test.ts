import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { shortProfile } from '../e2e/world.ts'
import { adapter, Chain, controllers } from './wva-chain.ts'
import { pause } from './wva-platform.ts'

let chain: Chain
beforeAll(async () => {
  chain = await Chain.start()
  await chain.stands()
}, 180_000)
afterAll(() => chain?.close())

const load = (seconds: number) => ({ 'workload-overrides': shortProfile('[1]', seconds) })
/** A decision that is three reconcile intervals and two seconds old counts as the last one of a blind controller. */
const blindMs = 4000

test('B50: a controller that went away after its first decision is seen as blind; when it is back the repeat is reset', async () => {
  chain.scale(controllers, 0)
  await pause(blindMs)
  let repaired: Promise<void> | undefined
  chain.whenSaid(/^the WVA controller: the WVA controller is scaled to 0/, () => {
    repaired = chain.repair()
  })
  const outcome = await chain.run(load(2))
  await repaired
  expect(chain.text).toMatch(/not at the start state: the last decision is \d+ s old: WVA does not see the metrics/)
  expect(outcome.failure).toBeUndefined()
  expect(outcome.leg?.repeats[0]).toMatchObject({ carriedOver: false, settled: { how: 'reset', tries: 1 } })
  expect(outcome.leg?.repeats[0]).not.toHaveProperty('chainBreaks')
}, 180_000)

test('B50: with `settle: 0s` a blind controller is in the record of the repeat, and what it measured is invalid', async () => {
  chain.scale(controllers, 0)
  await pause(blindMs)
  const outcome = await chain.run({ ...load(8), settle: '0s' })
  await chain.repair()
  const [repeat] = outcome.leg!.repeats
  expect(repeat).toMatchObject({ status: 'done', carriedOver: true, settled: { how: 'none', tries: 0 } })
  expect(repeat!.settled?.carriedOver).toMatch(/the last decision is \d+ s old/)
  expect(repeat!.chainBreaks?.map(b => b.link)).toContain('decision')
  expect(outcome.failure?.code).toBe('WVA_CHAIN')
}, 180_000)

test('B50: a chain that breaks in a repeat is named in it, the step fails, and the results are kept', async () => {
  let repaired: Promise<void> | undefined
  chain.whenSaid(/^repeat 2: seed/, () => setTimeout(() => chain.scale(controllers, 0), 2000))
  chain.whenSaid(/^Start state of repeat 3/, () => {
    repaired = chain.repair()
  })
  chain.whenSaid(/^repeat 3: seed/, () =>
    setTimeout(() => chain.remove(chain.own('variantautoscalings.llmd.ai')), 4000),
  )
  const outcome = await chain.run({ ...load(8), repeats: '3' })
  await repaired
  expect(outcome.failure).toMatchObject({
    code: 'WVA_CHAIN',
    what: 'The autoscaling chain broke in 2 of 3 repeats.',
    why: expect.stringMatching(/^Repeat 2: WVA has not decided anything for \d+ s: it was blind\.$/),
  })
  const repeats = outcome.leg!.repeats
  expect(repeats.map(r => r.status)).toEqual(['done', 'done', 'done'])
  expect(repeats.map(r => r.steps.length)).toEqual([1, 1, 1])
  expect(repeats.map(r => r.settled?.how)).toEqual(['reset', 'reset', 'reset'])
  expect(repeats[0]).not.toHaveProperty('chainBreaks')
  expect(repeats[1]?.chainBreaks).toMatchObject([{ link: 'decision', why: expect.stringContaining('blind') }])
  expect(repeats[2]?.chainBreaks?.[0]).toMatchObject({
    ...{ link: 'decision', why: 'the VariantAutoscaling was deleted' },
  })
  expect(outcome.resultsFolder).toBeDefined()
}, 180_000)

test('B50: an adapter that is away for longer than a hiccup breaks the external metric and the HPA', async () => {
  chain.whenSaid(/^repeat 1: seed/, () => chain.scale(adapter, 0))
  const outcome = await chain.run(load(30))
  await chain.repair()
  expect(outcome.failure?.code).toBe('WVA_CHAIN')
  const [repeat] = outcome.leg!.repeats
  expect(repeat!.steps).toHaveLength(1)
}, 180_000)
