import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { readyAddress } from '../sandbox/gateway/pods.ts'
import { startSandbox } from '../sandbox/sandbox.ts'
import { controllerName, type WvaOptions } from '../sandbox/wva/options.ts'
import { getPage } from '../sandbox/wva/web.ts'
import { eventually, Platform, pause, reconcileMs, windowMs } from './wva-platform.ts'
import { Stack } from './wva-stack.ts'

const intervals: WvaOptions = { reconcile: `${reconcileMs}ms`, scrape: '150ms', window: '2s', relist: '300ms' }
let platform: Platform
afterEach(() => Stack.endAll())
afterAll(() => platform.sandbox.close())

describe('one controller', () => {
  beforeAll(async () => {
    platform = new Platform(await startSandbox({ speed: 20, wva: intervals }))
  })

  test('at rest on one replica the decision equals it, the status tells so, and the external metric follows', async () => {
    const stack = await Stack.start(platform, 1)
    stack.createVariant()
    expect(await stack.firstDecision()).toBe(1)
    const status = stack.status()!
    expect(status.desiredOptimizedAlloc).toEqual({
      ...{ numReplicas: 1, accelerator: 'H100', lastRunTime: expect.stringMatching(/^\S+T\d\d:\d\d:\d\dZ$/) },
    })
    expect(status.currentAlloc).toEqual({
      ...{ accelerator: 'H100', numReplicas: 1, maxBatch: 256, variantCost: '10.00', itlAverage: '0.00' },
      ...{ ttftAverage: '0.00', load: { arrivalRate: '0.00', avgInputTokens: '0.00', avgOutputTokens: '0.00' } },
    })
    expect(status.actuation).toEqual({ applied: true })
    expect(status.conditions).toMatchObject([
      {
        ...{ type: 'OptimizationReady', status: 'True', reason: 'CapacityOnlyMode' },
        message: 'Capacity-only decision: capacity-only mode: no-change (target: 1 replicas)',
      },
    ])
    expect(await eventually('the metric', async () => (await platform.desiredOf(stack))[0])).toBe('1')
    const [series] = await platform.query(`inferno_desired_replicas{exported_namespace="${stack.namespace}"}`)
    expect(series!.labels).toMatchObject({
      ...{ variant_name: stack.variant, accelerator_type: 'H100', exported_namespace: stack.namespace },
      ...{ namespace: 'llm-d-autoscaler', pod: expect.stringContaining(controllerName) },
    })
    expect((await platform.external('')).body.resources).toMatchObject([{ name: 'inferno_desired_replicas' }])
    expect((await platform.external(`/namespaces/${stack.namespace}/unknown`)).status).toBe(404)
    expect(await platform.desiredOf({ ...stack, namespace: 'nowhere' })).toEqual([])

    await stack.queue(9)
    await stack.decides(2)
    const reason = await platform.logged('Capacity target: scale-up')
    expect(reason).toContain('reason=both KV spare (0.000 < 0.100) and queue spare (0.0 < 3.0)')
    await platform.logged(`Processing decision: variant=${stack.variant}, action=scale-up, current=1→target=2`)
  })

  test('2 idle replicas: it decides 1 and then answers no load until somebody scales', async () => {
    const stack = await Stack.start(platform, 2)
    stack.createVariant()
    expect(await stack.firstDecision()).toBe(1)
    await stack.queue(9)
    await stack.stays(1)
    stack.scale(1)
    await platform.sandbox.until('an answer to the load', () => (stack.desired ?? 0) > 1)
  })

  test('a pod that went less than a window ago counts as a replica: 1 loaded replica becomes 3, not 2', async () => {
    const stack = await Stack.start(platform, 2)
    await stack.queue(9)
    stack.scale(1)
    // Instant queries have forgotten the other one by now.
    await stack.measured(1)
    stack.createVariant()
    expect(await stack.firstDecision()).toBe(3)
  })

  test('a deleted variant is still served; its namesake, created at once, decides from ghosts; the order that works rests at 1', async () => {
    const stack = await Stack.start(platform, 1)
    await stack.queue(9)
    stack.createVariant()
    await stack.decides(2)
    stack.scale(2)
    await stack.measured(2)
    await stack.queue(9)
    await stack.decides(3)

    // The obvious reset.
    stack.deleteVariant()
    await stack.queue(0)
    stack.scale(1)
    await stack.ready(1)
    stack.createVariant()
    expect(await stack.firstDecision()).toBe(3)
    await stack.stays(3)
    stack.deleteVariant()

    // The gauge outlives the variant and every window.
    await stack.measured(1)
    await pause(windowMs + 500)
    expect(await platform.desiredOf(stack)).toEqual(['3'])

    // The reset that works: pods gone, queues empty, one window and one scrape later.
    stack.createVariant()
    expect(await stack.firstDecision()).toBe(1)
    await eventually('the external metric', async () =>
      (await platform.desiredOf(stack))[0] === '1' ? true : undefined,
    )
    await stack.stays(1)
  })

  test('a decision above what anybody carries out stays, however long it is idle', async () => {
    const stack = await Stack.start(platform, 1)
    await stack.queue(9)
    stack.createVariant()
    await stack.decides(2)
    await stack.queue(0)
    await pause(windowMs)
    await stack.stays(2)
  })

  test('a variant without the accelerator label, or without a Deployment of its name, is skipped', async () => {
    const stack = await Stack.start(platform, 1)
    const from = platform.controllerLog().length
    stack.createVariant({})
    await platform.logged(`Missing accelerator name label for VA, skipping: variant=${stack.variant}`, from)
    await platform.logged('Skipping status update for VA without valid metrics or accelerator', from)
    stack.createVariant(undefined, 'nobody')
    await pause(3 * reconcileMs)
    expect([stack.status(), stack.status('nobody')]).toEqual([undefined, undefined])
    expect(await platform.query(`inferno_desired_replicas{exported_namespace="${stack.namespace}"}`)).toEqual([])
  })

  test('of two variants of one name in two namespaces only one is ever written, and the decisions for both land on it', async () => {
    const first = await Stack.start(platform, 1)
    const second = await Stack.start(platform, 1, { variant: first.variant })
    first.createVariant()
    await first.firstDecision()
    second.createVariant()
    await second.firstDecision()
    const before = first.status()
    await second.queue(9)
    await second.decides(2)
    await pause(1_500)
    expect(first.status()).toEqual(before)
  })

  test('without a ServiceMonitor it never runs; with one it does; when that goes it repeats itself and the status stands still', async () => {
    const stack = await Stack.start(platform, 1, { monitored: false })
    const from = platform.controllerLog().length
    stack.createVariant()
    await platform.logged('Metrics unavailable for VA, skipping', from)
    await platform.logged('fallbackSource=current-replicas', from)
    expect(stack.status()).toBeUndefined()
    stack.monitor()
    expect(await stack.firstDecision()).toBe(1)
    stack.unmonitor()
    await platform.logged('fallbackSource=previous-desired', platform.controllerLog().length)
    const before = stack.status()?.desiredOptimizedAlloc
    await pause(1_500)
    expect(stack.status()?.desiredOptimizedAlloc).toEqual(before)
    expect(await platform.desiredOf(stack)).toEqual(['1'])
  })

  test('the interval is read anew at every pass', async () => {
    const passes = () => platform.controllerLog().filter(line => line.includes('Reconciliation completed')).length
    const every = (interval: string) =>
      platform.sandbox.api.store.modify(
        'configmaps',
        'llm-d-autoscaler',
        'workload-variant-autoscaler-variantautoscaling-config',
        draft => Object.assign(draft.data as object, { GLOBAL_OPT_INTERVAL: interval }),
      )
    every('1h')
    await pause(3 * reconcileMs)
    const before = passes()
    await pause(4 * reconcileMs)
    expect(passes()).toBe(before)
    every(`${reconcileMs}ms`)
    // Nothing but a new variant wakes it before its hour is over.
    const stack = await Stack.start(platform, 1)
    stack.createVariant()
    await stack.firstDecision()
    await stack.stays(1)
  })

  test('of two pods one leads; its successor takes over at once, and what it does not know is served no more', async () => {
    const stack = await Stack.start(platform, 1)
    stack.createVariant()
    await stack.firstDecision()
    await eventually('the metric', async () => (await platform.desiredOf(stack))[0])
    stack.deleteVariant()
    const survivor = await Stack.start(platform, 1)
    survivor.createVariant()
    await survivor.firstDecision()

    const [leader] = platform.pods('llm-d-autoscaler', controllerName)
    const { store } = platform.sandbox.api
    store.modify('deployments.apps', 'llm-d-autoscaler', controllerName, draft =>
      Object.assign(draft.spec as object, { replicas: 2 }),
    )
    const others = () =>
      platform
        .pods('llm-d-autoscaler', controllerName)
        .filter(pod => pod.metadata.uid !== leader!.metadata.uid && readyAddress(pod) !== undefined)
    const pages = () =>
      Promise.all(
        others().map(async pod => {
          const url = new URL(`https://${readyAddress(pod)}:8443/metrics`)
          return (await getPage(url, { timeoutMs: 2_000, byPodAddress: true })).body
        }),
      )
    await platform.sandbox.until('a second pod', () => others().length === 1)
    await pause(2 * reconcileMs)
    expect(await pages()).toEqual([''])
    store.delete('pods', 'llm-d-autoscaler', leader!.metadata.name)
    const body = await eventually('the successor decides', async () => (await pages()).find(page => page !== ''))
    expect(body).toContain(`namespace="${survivor.namespace}"`)
    expect(body).not.toContain(`namespace="${stack.namespace}"`)
    await eventually('the old value is gone', async () =>
      (await platform.desiredOf(stack)).length === 0 ? true : undefined,
    )
  })
})

describe('two controllers and the rule that does not deduplicate', () => {
  beforeAll(async () => {
    await platform.sandbox.close()
    const wva: WvaOptions = {
      ...intervals,
      ...{ controllers: 2, rule: 'plain', serviceMonitorSelector: { release: 'stack' } },
    }
    platform = new Platform(await startSandbox({ speed: 20, wva }))
  })

  test('both act on every variant, and the external metric has two items for it, which an HPA adds up', async () => {
    const stack = await Stack.start(platform, 1, { monitored: false })
    // A monitor without the label that this Prometheus wants is not heard.
    stack.monitor()
    stack.createVariant()
    await platform.logged('Metrics unavailable for VA, skipping')
    platform.sandbox.api.store.modify(
      'servicemonitors.monitoring.coreos.com',
      stack.namespace,
      'vllm-servicemonitor',
      draft => Object.assign(draft.metadata, { labels: { ...draft.metadata.labels, release: 'stack' } }),
    )
    expect(await stack.firstDecision()).toBe(1)
    await eventually('two items', async () => {
      const values = await platform.desiredOf(stack)
      return values.length === 2 && values.every(value => value === '1') ? true : undefined
    })
    // Their safety nets publish the same number, so that the second may still be about to decide.
    for (const namespace of ['llm-d-autoscaler', 'llm-d-autoscaler-2']) {
      const decides = () => platform.controllerLog(namespace).some(line => line.includes('Processing decision'))
      await eventually(`a decision in ${namespace}`, async () => decides() || undefined)
    }
  })
})
