import { describe, expect, test } from '@jest/globals'
import {
  analyze,
  type Decision,
  decide,
  defaultThresholds,
  type ReplicaLoad,
  type Variant,
} from '../../sandbox/wva/decision.ts'
import { ownerOf } from '../../sandbox/wva/loads.ts'
import { thresholdsFor } from '../../sandbox/wva/thresholds.ts'
import { decidedStatus, groupByModel, type VariantAutoscaling } from '../../sandbox/wva/variants.ts'

/** Replicas of one variant from pairs of KV usage and queue length. */
const replicas = (variant: string, ...loads: [kv: number, queue: number][]): ReplicaLoad[] =>
  loads.map(([kv, queue], i) => ({ pod: `${variant}-${i}`, variant, kv, queue }))
const idle = (variant: string, count: number) =>
  replicas(variant, ...Array.from({ length: count }, () => [0, 0] as [number, number]))
const variant = (name: string, current: number, desired = 0, cost = 10): Variant => ({ name, current, desired, cost })
const targets = (decisions: readonly Decision[]) => Object.fromEntries(decisions.map(d => [d.variant, d.target]))
const once = (loads: readonly ReplicaLoad[], ...variants: Variant[]) =>
  targets(decide(loads, variants, defaultThresholds))

describe('one variant', () => {
  test.each<[string, [number, number][], number]>([
    ['idle, one replica', [[0, 0]], 1],
    [
      'idle, two replicas: one is given up',
      [
        [0, 0],
        [0, 0],
      ],
      1,
    ],
    ['KV usage of 0.70 leaves exactly what must be spare', [[0.7, 0]], 1],
    ['KV usage above 0.70 on average', [[0.71, 0]], 2],
    ['two requests waiting leave three spare', [[0.1, 2]], 1],
    ['three requests waiting', [[0.1, 3]], 2],
    ['saturated by KV usage alone', [[0.8, 0]], 2],
    ['saturated by the queue alone', [[0, 5]], 2],
    [
      'all saturated: no spare at all',
      [
        [0.9, 9],
        [0.85, 7],
      ],
      3,
    ],
    [
      'a saturated replica is left out of the mean, so an idle one beside it holds growth back',
      [
        [0.95, 50],
        [0.1, 0],
      ],
      2,
    ],
    [
      'one saturated of three keeps two calm ones, of which one is spare',
      [
        [0.95, 9],
        [0.1, 0],
        [0.1, 0],
      ],
      2,
    ],
    [
      'after a removal the rest would have too little room',
      [
        [0.4, 0],
        [0.4, 0],
      ],
      2,
    ],
    [
      'after a removal the rest keeps exactly enough room',
      [
        [0.35, 1],
        [0.35, 1],
      ],
      1,
    ],
    [
      'after a removal the queue would be too long',
      [
        [0.1, 2],
        [0.1, 1],
      ],
      2,
    ],
  ])('%s', (_what, loads, target) => {
    expect(once(replicas('v', ...loads), variant('v', loads.length))).toEqual({ v: target })
  })

  test('the count it starts from is that of the pods with metrics, not the Deployment', () => {
    expect(once(replicas('v', [0.9, 9]), variant('v', 3))).toEqual({ v: 2 })
    expect(decide(idle('v', 1), [variant('v', 2)], defaultThresholds)[0]).toMatchObject({
      ...{ target: 1, current: 2, ready: 1, action: 'scale-down' },
    })
  })

  test('however great the need, it grows by one', () => {
    expect(once(replicas('v', [1, 500], [1, 500]), variant('v', 2))).toEqual({ v: 3 })
  })

  test('without a replica that has metrics there is no decision', () => {
    expect(decide([], [variant('v', 2, 2)], defaultThresholds)).toEqual([])
  })
})

describe('what it decided before', () => {
  test('is kept while the Deployment has not followed: frozen, whatever the load', () => {
    expect(once(replicas('v', [1, 99], [1, 99]), variant('v', 2, 1))).toEqual({ v: 1 })
    expect(decide(idle('v', 2), [variant('v', 2, 3)], defaultThresholds)[0]).toMatchObject({ target: 3, frozen: true })
  })

  test('idle 2 replicas go to 1 and stay decided until somebody scales; only then load counts', () => {
    const [first] = decide(idle('v', 2), [variant('v', 2)], defaultThresholds)
    expect(first).toMatchObject({ target: 1, action: 'scale-down', frozen: false })
    const loaded = replicas('v', [0.9, 9], [0.9, 9])
    expect(once(loaded, variant('v', 2, 1))).toEqual({ v: 1 })
    expect(once(loaded.slice(0, 1), variant('v', 1, 1))).toEqual({ v: 2 })
  })

  test('is given up when load dips while a new pod starts: the Deployment has followed, the pod has no metrics yet', () => {
    expect(decide(idle('v', 1), [variant('v', 2, 2)], defaultThresholds)[0]).toMatchObject({
      ...{ target: 1, action: 'scale-down', frozen: false },
    })
  })

  test('above what the HPA allows stays for good: current never equals it', () => {
    let before = 11
    for (let pass = 0; pass < 3; pass++) before = once(idle('v', 10), variant('v', 10, before)).v!
    expect(before).toBe(11)
    expect(once(idle('v', 10), variant('v', 10))).toEqual({ v: 9 })
  })

  test('does not freeze when it was nothing: 0 means none yet', () => {
    expect(once(idle('v', 3), variant('v', 3, 0))).toEqual({ v: 2 })
  })
})

describe('several variants of a model', () => {
  const cheap = (current: number, desired = 0) => variant('cheap', current, desired, 5)
  const dear = (current: number, desired = 0) => variant('dear', current, desired, 20)
  const full = (name: string) => replicas(name, [0.9, 9])

  test('the cheapest grows, the dearest shrinks, one of them at a time', () => {
    expect(once([...full('cheap'), ...full('dear')], dear(1), cheap(1))).toEqual({ cheap: 2, dear: 1 })
    expect(once([...idle('cheap', 2), ...idle('dear', 2)], cheap(2), dear(2))).toEqual({ cheap: 2, dear: 1 })
  })

  test('the last replica of the dearest stays, so the next one shrinks', () => {
    expect(once([...idle('cheap', 2), ...idle('dear', 1)], cheap(2), dear(1))).toEqual({ cheap: 1, dear: 1 })
  })

  test('a frozen variant takes no part, and the next cheapest grows', () => {
    expect(once([...full('cheap'), ...full('dear')], cheap(1, 2), dear(1))).toEqual({ cheap: 2, dear: 2 })
  })

  test('equal costs are decided by name: the first grows, the last shrinks', () => {
    const both = (count: number) => [variant('a', count), variant('b', count)]
    expect(once([...full('b'), ...full('a')], ...both(1))).toEqual({ a: 2, b: 1 })
    expect(once([...idle('a', 2), ...idle('b', 2)], ...both(2))).toEqual({ a: 2, b: 1 })
  })

  test('two namespaces with one model and one name become one variant: the replicas add up, the later state counts', () => {
    const decisions = decide(idle('v', 3), [variant('v', 1, 1), variant('v', 2, 2)], defaultThresholds)
    expect(decisions).toHaveLength(1)
    expect(decisions[0]).toMatchObject({ current: 2, target: 2, ready: 3 })
  })

  test('variants are grouped by model alone, not by namespace', () => {
    const va = (namespace: string, modelID: string) =>
      ({ metadata: { name: 'v', namespace }, spec: { modelID } }) as unknown as VariantAutoscaling
    const groups = groupByModel([va('one', 'm'), va('two', 'm'), va('two', 'other')])
    expect([...groups].map(([model, { length }]) => [model, length])).toEqual([
      ['m', 2],
      ['other', 1],
    ])
  })
})

describe('around the decision', () => {
  test('the reason names what was short, with both figures', () => {
    const reason = (kv: number, queue: number) => analyze(replicas('v', [kv, queue]), defaultThresholds).upReason
    expect(reason(0.75, 0)).toBe('KV spare capacity low (0.050 < 0.100)')
    expect(reason(0, 4)).toBe('queue spare capacity low (1.0 < 3.0)')
    expect(reason(0.9, 9)).toBe('both KV spare (0.000 < 0.100) and queue spare (0.0 < 3.0)')
    expect(reason(0.1, 0)).toBeUndefined()
  })

  test('thresholds come from the key default, and from the entry that names model and namespace', () => {
    const data = {
      default: 'kvCacheThreshold: 0.7\nqueueLengthThreshold: 8\n',
      run: 'model_id: m\nnamespace: ns\nkvCacheThreshold: 0.6\n',
      broken: ': [',
    }
    expect(thresholdsFor(data, 'm', 'ns')).toMatchObject({ kvCacheThreshold: 0.6, queueLengthThreshold: 8 })
    expect(thresholdsFor(data, 'm', 'elsewhere')).toMatchObject({ kvCacheThreshold: 0.7, kvSpareTrigger: 0.1 })
    expect(thresholdsFor(undefined, 'm', 'ns')).toEqual(defaultThresholds)
  })

  test('a pod that is gone still counts for the Deployment whose name it starts with, the longest first', () => {
    const owners = [
      { name: 'm-decode', pods: new Set(['odd-name']) },
      { name: 'm-decode-large', pods: new Set<string>() },
    ]
    expect(ownerOf('odd-name', owners)).toBe('m-decode')
    expect(ownerOf('m-decode-6d5f-x7', owners)).toBe('m-decode')
    expect(ownerOf('m-decode-large-6d5f-x7', owners)).toBe('m-decode-large')
    expect(ownerOf('other-6d5f-x7', owners)).toBeUndefined()
  })

  test('the status holds the decision, one condition, and never that metrics are available', () => {
    const va = {
      ...{
        apiVersion: 'llmd.ai/v1alpha1',
        kind: 'VariantAutoscaling',
        metadata: { name: 'v' },
        spec: { modelID: 'm' },
      },
    } as VariantAutoscaling
    const alloc = {
      ...{ accelerator: 'H100', numReplicas: 1, maxBatch: 256, variantCost: '10.00' },
      ...{ itlAverage: '0.00', ttftAverage: '0.00' },
      load: { arrivalRate: '0.00', avgInputTokens: '0.00', avgOutputTokens: '0.00' },
    }
    const decision = { action: 'scale-up', target: 2, accelerator: 'H100' }
    const first = decidedStatus(va, decision, alloc, new Date('2026-01-02T03:04:05.678Z'))
    expect(first.desiredOptimizedAlloc).toEqual({
      ...{ numReplicas: 2, accelerator: 'H100', lastRunTime: '2026-01-02T03:04:05Z' },
    })
    expect(first.conditions).toEqual([
      {
        ...{ type: 'OptimizationReady', status: 'True', reason: 'CapacityOnlyMode' },
        message: 'Capacity-only decision: capacity-only mode: scale-up (target: 2 replicas)',
        lastTransitionTime: '2026-01-02T03:04:05Z',
      },
    ])
    const next = decidedStatus({ ...va, status: first }, decision, alloc, new Date('2026-01-02T03:05:05Z'))
    expect(next.conditions).toMatchObject([{ lastTransitionTime: '2026-01-02T03:04:05Z' }])
    expect(next.desiredOptimizedAlloc?.lastRunTime).toBe('2026-01-02T03:05:05Z')
  })
})
