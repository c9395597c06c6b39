import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { asFailure } from '../../../src/errors.ts'
import { createVariant } from '../../../src/modes/chain-gates.ts'
import { removeScalers } from '../../../src/modes/scalers.ts'
import { atStart, reset, restoreScalers, waitForStart } from '../../../src/modes/settle.ts'
import { decode, namespace, page, ScaledStack } from './scaled-stack.ts'

let stack: ScaledStack
beforeEach(async () => {
  stack = await ScaledStack.start()
  await stack.until('a pod', () => stack.pods().length === 1)
})
afterEach(() => stack.close())

const windowMs = 400
const busy = (response: ServerResponse) => void response.end(page({ running: 1 }))
const failure = (work: Promise<unknown>) => work.then(() => undefined, asFailure)
const both = () => {
  stack.create('VariantAutoscaling')
  stack.create('HorizontalPodAutoscaler')
}

describe('a reset', () => {
  test('deletes HPA and VariantAutoscaling, scales through the scale subresource, and makes the HPA last', async () => {
    both()
    stack.scale(3)
    await stack.until('three pods', () => stack.pods().length === 3)
    const from = stack.asked
    const settled = await reset(await stack.scalers(), { windowMs: 10, fresh: false })
    expect(stack.writes(from)).toEqual([
      'DELETE horizontalpodautoscalers',
      'DELETE variantautoscalings',
      'PATCH scale',
      'PATCH variantautoscalings',
      'PATCH horizontalpodautoscalers',
    ])
    expect(settled).toEqual({ how: 'reset', seconds: expect.any(Number), tries: 1 })
    expect(stack.pods()).toHaveLength(1)
    expect(stack.hpa()?.spec).toMatchObject({ minReplicas: 1, maxReplicas: 4 })
  })

  test('lets the query window and a part of a scrape pass before the new VariantAutoscaling is made', async () => {
    both()
    let removed = 0
    let made = 0
    const unsubscribe = stack.server.store.subscribe(({ type, object }) => {
      if (object.kind !== 'VariantAutoscaling') return
      if (type === 'DELETED') removed = performance.now()
      else if (type === 'ADDED') made = performance.now()
    })
    await reset(await stack.scalers(), { windowMs, fresh: false })
    unsubscribe()
    expect(removed).toBeGreaterThan(0)
    expect(made - removed).toBeGreaterThanOrEqual(windowMs * 1.25)
    expect(stack.lines.join('\n')).toContain('reset 4 of 6')
  })

  test('of a stack that was never scaled waits for no window; one from which something had to go does', async () => {
    const scalers = await stack.scalers()
    expect((await reset(scalers, { windowMs: 60_000, fresh: true })).seconds).toBeLessThan(5)
    expect(stack.lines.join('\n')).not.toContain('reset 4 of 6')
    await reset(scalers, { windowMs: 10, fresh: true })
    expect(stack.lines.join('\n')).toContain('reset 4 of 6')
  })

  test('makes the VariantAutoscaling again when its first decision comes from what was before', async () => {
    stack.decide = nth => (nth === 1 ? 3 : 1)
    const settled = await reset(await stack.scalers(), { windowMs: 10, fresh: true })
    expect(settled).toMatchObject({ tries: 2 })
    expect(settled).not.toHaveProperty('carriedOver')
  })

  test('gives up after three decisions for another number, and says so', async () => {
    stack.decide = () => 3
    const settled = await reset(await stack.scalers(), { windowMs: 10, fresh: true })
    expect(stack.made).toBe(3)
    expect(settled).toMatchObject({
      ...{ how: 'reset', tries: 3 },
      carriedOver: 'WVA has decided for 3 replicas while 1 is there',
    })
    expect(stack.hpa()).toBeDefined()
  })

  test('makes no HPA as long as the external metric is not what WVA has decided', async () => {
    let served = 3
    stack.values = () => [served]
    const scalers = await stack.scalers()
    const work = reset(scalers, { windowMs: 10, fresh: true })
    await stack.until('the sentence', () => stack.lines.some(l => l.includes('still serves 3, WVA has decided 1')))
    expect(stack.hpa()).toBeUndefined()
    served = 1
    await work
    expect(stack.hpa()).toBeDefined()
  })

  test('does not begin while requests wait on a model server', async () => {
    both()
    let waiting = 4
    stack.metrics = response => void response.end(page({ waiting }))
    const work = reset(await stack.scalers(), { windowMs: 10, fresh: false })
    await stack.until('the sentence', () => stack.lines.some(l => /0 requests running and 4 waiting/.test(l)))
    expect(stack.hpa()).toBeDefined()
    waiting = 0
    await work
  })

  test('does not wait for the queue of a pod that found no GPU', async () => {
    both()
    stack.starved = true
    stack.scale(2)
    await stack.until('the second pod', () => stack.pods().length === 2)
    const settled = await reset(await stack.scalers(), { windowMs: 10, fresh: false })
    expect(settled).not.toHaveProperty('carriedOver')
    expect(stack.pods()).toHaveLength(1)
  })

  test('of a stack whose controller is gone names it and changes nothing', async () => {
    both()
    stack.server.store.delete('deployments.apps', 'llm-d-autoscaler', 'workload-variant-autoscaler-controller-manager')
    const from = stack.asked
    expect(await failure(reset(await stack.scalers(), { windowMs: 10, fresh: false }))).toMatchObject({
      code: 'WVA_CHAIN',
      what: 'The autoscaling chain is broken at the WVA controller.',
    })
    expect(stack.writes(from)).toEqual([])
  })

  test('ends at once when the step is cancelled during the window', async () => {
    both()
    const work = failure(reset(await stack.scalers(), { windowMs: 60_000, fresh: false }))
    await stack.until('the window', () => stack.lines.some(l => l.includes('reset 4 of 6')))
    stack.stop.abort(Object.assign(new Error('the runner says so'), { name: 'AbortError' }))
    expect(await work).toMatchObject({ code: 'CANCELLED' })
  })
})

test("the decision of a VariantAutoscaling that is still in a late watch's view is not taken for that of the new one", async () => {
  stack.decide = nth => (nth === 1 ? 4 : 1)
  both()
  await stack.until('the decision', () => stack.decided === 4)
  const scalers = await stack.scalers()
  const { view } = scalers.observer
  const late = (path: string, query: Record<string, string>) =>
    path.endsWith('/variantautoscalings') && query.watch === 'true' && query.labelSelector !== undefined
  stack.server.faults.add({ match: r => late(r.path, r.query), delayMs: 1000 })
  stack.server.faults.dropWatches()
  await removeScalers(scalers)
  expect(view.get('VariantAutoscaling', decode)).toBeDefined()
  expect(await createVariant(scalers)).toBe(1)
})

describe('the start state', () => {
  const now = () => stack.api.serverNow()
  const why = async (later = 0) => {
    const verdict = await atStart(await stack.scalers(), 60_000, now() + later)
    return verdict.state === 'ready' ? 'ready' : verdict.why
  }
  beforeEach(async () => {
    both()
    await stack.until('the HPA', () => (stack.hpa()?.status as { conditions?: unknown })?.conditions !== undefined)
  })

  test('is one replica at rest with a chain that works', async () => {
    expect(await why()).toBe('ready')
  })

  test.each<[string, () => void, RegExp]>([
    ['another number of replicas', () => stack.scale(2), /asks for 2 replicas|2 decode pods/],
    ['a decision for more', () => stack.decideNow(2), /WVA has decided for 2 replicas/],
    ['a metric that says something else', () => Object.assign(stack, { values: () => [2] }), /still serves 2/],
    ['a queue', () => Object.assign(stack, { metrics: busy }), /1 requests running/],
    [
      'an HPA that is gone',
      () => void stack.server.store.delete('horizontalpodautoscalers.autoscaling', namespace, decode),
      /HPA is not there/,
    ],
  ])('is not %s', async (_name, change, sentence) => {
    change()
    expect(await why()).toMatch(sentence)
  })

  test('is not a decision that was not repeated for three intervals', async () => {
    expect(await why(179_000)).toBe('ready')
    expect(await why(184_000)).toMatch(/last decision is 18\d s old/)
  })

  test('is waited for as long as was asked, and what is in the way is told', async () => {
    stack.decideNow(2)
    const scalers = await stack.scalers()
    const options = { ms: 300, reconcileMs: 60_000, now }
    expect(await waitForStart(scalers, options)).toMatchObject({
      how: 'waited',
      carriedOver: 'WVA has decided for 2 replicas',
    })
    expect(await waitForStart(scalers, { ...options, ms: 0 })).toMatchObject({ how: 'none', seconds: 0 })
    stack.decideNow(1)
    await stack.until('1', () =>
      JSON.stringify(scalers.observer.view.get('VariantAutoscaling', decode)).includes('numReplicas":1'),
    )
    expect(await waitForStart(scalers, options)).not.toHaveProperty('carriedOver')
  })
})

describe('scalers that a cut reset left out', () => {
  test('are made again, the VariantAutoscaling first; when both are there nothing is written', async () => {
    const scalers = await stack.scalers()
    const from = stack.asked
    expect(await restoreScalers(scalers)).toBe(true)
    expect(stack.writes(from)).toEqual(['PATCH variantautoscalings', 'PATCH horizontalpodautoscalers'])
    const then = stack.asked
    expect(await restoreScalers(scalers)).toBe(false)
    expect(stack.writes(then)).toEqual([])
  })
})
