import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { asFailure } from '../../../src/errors.ts'
import {
  controllerGate,
  createHpa,
  createVariant,
  idleSentence,
  metricGate,
  metricsGate,
} from '../../../src/modes/chain-gates.ts'
import { removeScalers, toRest } from '../../../src/modes/scalers.ts'
import { decode, namespace, page, ScaledStack } from './scaled-stack.ts'

let stack: ScaledStack
beforeEach(async () => {
  stack = await ScaledStack.start()
  await stack.until('a pod', () => stack.pods().length === 1)
})
afterEach(() => stack.close())

const failure = (work: Promise<unknown>) => work.then(() => undefined, asFailure)
const both = () => {
  stack.create('VariantAutoscaling')
  stack.create('HorizontalPodAutoscaler')
}

describe('the controller', () => {
  test('that restarted before we looked is not taken for one that restarts, also when the first look at its pods failed', async () => {
    stack.controllerPod(7)
    stack.controllerStatus({ availableReplicas: 0 })
    const pods = (path: string) => path.endsWith('/namespaces/llm-d-autoscaler/pods')
    stack.server.faults.add({ match: r => pods(r.path), status: 403, times: 1 })
    const work = failure(controllerGate(await stack.scalers()))
    await stack.until('a second look', () => stack.server.requests().filter(r => pods(r.path)).length > 1)
    stack.controllerStatus({ availableReplicas: 1 })
    expect(await work).toBeUndefined()
  })

  test('that restarts while we wait for it is the broken link', async () => {
    stack.controllerPod(0)
    stack.controllerStatus({ availableReplicas: 0 })
    const work = failure(controllerGate(await stack.scalers()))
    await stack.until('the sentence', () => stack.lines.some(l => l.includes('no pod of the WVA controller')))
    stack.server.store.patchStatus('pods', 'llm-d-autoscaler', 'wva-0', {
      containerStatuses: [{ name: 'manager', restartCount: 2 }],
    })
    expect(await work).toMatchObject({ code: 'WVA_CHAIN', why: expect.stringContaining('has restarted 2 times') })
  })
})

describe('removing the scalers', () => {
  test.each([
    ['VariantAutoscaling', 'HorizontalPodAutoscaler'],
    ['HorizontalPodAutoscaler', 'VariantAutoscaling'],
  ] as const)('a %s of somebody else is refused before anything is deleted', async (foreign, own) => {
    stack.create(foreign, {})
    stack.create(own)
    const from = stack.asked
    expect(await failure(removeScalers(await stack.scalers()))).toMatchObject({
      code: 'PREFLIGHT',
      what: `The ${foreign} ${decode} is not of this stack.`,
    })
    expect(stack.writes(from)).toEqual([])
  })

  test('says whether there was one', async () => {
    const scalers = await stack.scalers()
    expect(await removeScalers(scalers)).toBe(false)
    both()
    expect(await removeScalers(scalers)).toBe(true)
    expect([stack.hpa(), stack.variant()]).toEqual([undefined, undefined])
  })

  test('waits until a finalizer lets go: what is still there would be adopted by name', async () => {
    both()
    const edit = (finalizers: string[]) =>
      stack.server.store.modify('variantautoscalings.llmd.ai', namespace, decode, draft => {
        draft.metadata.finalizers = finalizers
      })
    edit(['example.com/hold'])
    let gone = false
    const work = removeScalers(await stack.scalers()).then(() => {
      gone = true
    })
    await stack.until('the delete', () => stack.variant()?.metadata.deletionTimestamp !== undefined)
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(gone).toBe(false)
    edit([])
    await work
  })
})

describe('the way to rest', () => {
  test('a number that an HPA has set a moment ago, and that no watch has told yet, is not taken for rest', async () => {
    const scalers = await stack.scalers()
    // What comes over the watches from here on is late; the pods come later still.
    stack.server.faults.add({
      match: r => r.query.watch === 'true' && r.query.labelSelector !== undefined,
      delayMs: 600,
      times: 4,
    })
    stack.server.faults.dropWatches()
    stack.pause()
    stack.scale(2)
    setTimeout(() => stack.resume(), 400)
    await toRest(scalers)
    const { metadata, status } = stack.server.store.get('deployments.apps', namespace, decode)!
    expect(metadata.generation).toBe(3)
    expect(status).toMatchObject({ observedGeneration: 3, replicas: 1 })
  })
})

describe('the decision', () => {
  test('is the number that was waited for', async () => {
    stack.decide = () => 3
    expect(await createVariant(await stack.scalers())).toBe(3)
  })

  test('that does not come names the link, with what the controller said as evidence', async () => {
    stack.decide = () => undefined
    expect(await failure(createVariant(await stack.scalers({ gateMs: 300 })))).toMatchObject({
      code: 'WVA_CHAIN',
      what: 'The autoscaling chain is broken at the decision of WVA.',
      why: expect.stringMatching(/^Not ready after 0 s: WVA has not decided anything/),
    })
  })
})

describe('the external metric', () => {
  test('of a VariantAutoscaling that went away says so', async () => {
    const scalers = await stack.scalers({ gateMs: 1200 })
    stack.create('VariantAutoscaling')
    await stack.until('a decision', () => stack.decided === 1)
    stack.server.store.delete('variantautoscalings.llmd.ai', namespace, decode)
    await stack.until('its end', () => scalers.observer.view.get('VariantAutoscaling', decode) === undefined)
    const { why } = (await failure(metricGate(scalers)))!
    expect(why).toMatch(/VariantAutoscaling is not there/)
    expect(why).not.toContain('NaN')
  })

  test('that nobody answers for is a broken link with a sentence', async () => {
    const scalers = await stack.scalers({ gateMs: 1200 })
    stack.create('VariantAutoscaling')
    await stack.until('a decision', () => scalers.observer.view.get('VariantAutoscaling', decode)?.status !== undefined)
    stack.server.faults.add({ match: r => r.path.includes('external.metrics'), dropConnection: true })
    expect(await failure(metricGate(scalers))).toMatchObject({
      code: 'WVA_CHAIN',
      why: expect.stringContaining('the external metrics API did not answer'),
    })
  })

  test('of two series is the broken link, whatever they say', async () => {
    const scalers = await stack.scalers()
    stack.create('VariantAutoscaling')
    stack.values = () => [1, 1]
    expect(await failure(metricGate(scalers))).toMatchObject({ why: expect.stringContaining('2 values (1, 1)') })
  })
})

describe('the model servers', () => {
  test('under another name than the variant asks for are the broken link', async () => {
    stack.metrics = response => void response.end(page({ model: 'other/model' }))
    expect(await failure(metricsGate(await stack.scalers()))).toMatchObject({
      why: expect.stringContaining('names its model other/model'),
    })
  })

  test('are idle when none of them has a request, and not when one cannot be read', () => {
    const load = (running: number, waiting: number) => ({ running, waiting, kvUsage: 0, model: 'm' })
    expect(idleSentence(new Map([['a', load(0, 0)]]))).toEqual({ state: 'ready' })
    for (const [running, waiting] of [
      [1, 0],
      [0, 1],
    ] as const)
      expect(
        idleSentence(
          new Map([
            ['a', load(0, 0)],
            ['b', load(running, waiting)],
          ]),
        ),
      ).toMatchObject({
        why: `pod b has ${running} requests running and ${waiting} waiting`,
      })
    expect(idleSentence(new Map([['a', undefined]]))).toMatchObject({ state: 'waiting' })
  })
})

describe('the HPA', () => {
  test('without a metric is the broken link; what the cluster says about it is one line', async () => {
    stack.active = false
    const { what, why } = (await failure(createHpa(await stack.scalers({ gateMs: 500 }))))!
    expect(what).toBe('The autoscaling chain is broken at the HPA.')
    expect(why).toBe('Not ready after 1 s: ScalingActive is False: no metrics returned ::error::x.')
    expect(stack.lines.join('')).not.toMatch(/\n/)
  })

  test('of somebody else under the same name is not taken over', async () => {
    const object = stack.create('HorizontalPodAutoscaler')
    stack.server.store.modify('horizontalpodautoscalers.autoscaling', namespace, decode, draft => {
      Object.assign(draft.spec as object, { maxReplicas: 99 })
    })
    await expect(createHpa(await stack.scalers())).rejects.toMatchObject({ status: 409 })
    expect(stack.hpa()?.metadata.uid).toBe(object.metadata.uid)
  })
})
