import { describe, expect, test } from '@jest/globals'
import { milli, milliText, selectorQuery, selectorText } from '../../sandbox/controllers/external-metrics.ts'
import {
  type Behavior,
  type Decision,
  decide,
  firstHistory,
  type History,
  perPodReplicas,
  rescaled,
  type ScalingRules,
  valueReplicas,
} from '../../sandbox/controllers/scaling.ts'

const tenPercent = { up: 0.1, down: 0.1 }

describe('replicas for a value', () => {
  test.each([
    [3000, 1000, 1, 3],
    [2001, 1000, 1, 3],
    [1500, 1500, 1, 1],
    [0, 1000, 2, 0],
    [500, 1000, 1, 1],
  ])('a sum of %i for %i a pod, with %i counted, is %i', (sum, target, counted, replicas) => {
    expect(perPodReplicas(sum, target, counted, tenPercent).replicas).toBe(replicas)
  })

  test('ten percent more or less than the counted replicas carry changes nothing, a little more does', () => {
    const replicas = (sum: number) => perPodReplicas(sum, 1000, 10, tenPercent).replicas
    expect([9000, 10_000, 11_000].map(replicas)).toEqual([10, 10, 10])
    expect(replicas(8999)).toBe(9)
    expect(replicas(11_001)).toBe(12)
    expect(perPodReplicas(11_000, 1000, 10, { up: 0.05, down: 0.1 }).replicas).toBe(11)
  })

  test('the average that the status shows is over the counted replicas, rounded up', () => {
    expect(perPodReplicas(4000, 1000, 3, tenPercent).average).toBe(1334)
    expect(perPodReplicas(4000, 1000, 0, tenPercent)).toEqual({ replicas: 4, average: 4000 })
  })

  test('a target for the whole value multiplies the ready pods, and from zero gives the ratio alone', () => {
    expect(valueReplicas(20_000, 10_000, 3, 3, tenPercent)).toBe(6)
    expect(valueReplicas(20_000, 10_000, 3, 2, tenPercent)).toBe(4)
    expect(valueReplicas(10_900, 10_000, 3, 2, tenPercent)).toBe(3)
    expect(valueReplicas(25_000, 10_000, 0, 0, tenPercent)).toBe(3)
  })
})

const anyPods = { type: 'Pods', value: 100, periodSeconds: 15 } as const
const behavior = (scaleUp: ScalingRules = {}, scaleDown: ScalingRules = {}): Behavior => ({
  scaleUp: { selectPolicy: 'Max', policies: [anyPods], ...scaleUp },
  scaleDown: { selectPolicy: 'Max', policies: [anyPods], ...scaleDown },
})

/** An autoscaler that is asked again and again: `ask` takes seconds since its first sync and what the metrics propose. */
class Asked {
  readonly #rules: Behavior | undefined
  readonly #bounds: { min: number; max: number }
  current: number
  history: History
  constructor(current: number, rules: Behavior | undefined, bounds = { min: 1, max: 100 }) {
    this.#rules = rules
    this.#bounds = bounds
    this.current = current
    this.history = firstHistory(current, 0)
  }
  ask(seconds: number, proposed: number): Decision {
    const now = seconds * 1000
    const { current, history } = this
    const decision = decide({ history, current, proposed, ...this.#bounds, behavior: this.#rules, now })
    this.history = decision.history
    if (decision.replicas !== current) this.history = rescaled(this.history, current, decision.replicas, now)
    this.current = decision.replicas
    return decision
  }
  replicas(...steps: [seconds: number, proposed: number][]): number[] {
    return steps.map(([seconds, proposed]) => this.ask(seconds, proposed).replicas)
  }
}

describe('windows', () => {
  test('a new autoscaler starts from where the target stands: with a window it goes neither up nor down at once', () => {
    const rules = behavior({ stabilizationWindowSeconds: 240 }, { stabilizationWindowSeconds: 240 })
    const up = new Asked(2, rules)
    expect(up.replicas([0, 5], [120, 5], [239, 5], [240, 5])).toEqual([2, 2, 2, 5])
    const down = new Asked(5, rules)
    expect(down.replicas([0, 2], [239, 2], [240, 2])).toEqual([5, 5, 2])
  })

  test('up takes the lowest of its window, down the highest of its own', () => {
    const asked = new Asked(1, behavior({ stabilizationWindowSeconds: 20 }, { stabilizationWindowSeconds: 60 }))
    expect(asked.replicas([5, 4], [10, 3], [15, 6], [20, 5], [25, 5])).toEqual([1, 1, 1, 3, 3])
    // The 3 of second 10 has left the window, the 5 of second 20 has not.
    expect(asked.replicas([31, 8])).toEqual([5])
    // The 8 and then the 5 still count for a minute.
    expect(asked.replicas([40, 1], [90, 1], [92, 1])).toEqual([5, 5, 1])
  })

  test('what the window holds back is said, and so is a decision that is free', () => {
    const asked = new Asked(2, behavior({ stabilizationWindowSeconds: 10 }, { stabilizationWindowSeconds: 10 }))
    const said = (seconds: number, proposed: number) => asked.ask(seconds, proposed).ableToScale.reason
    expect(said(1, 4)).toBe('ScaleUpStabilized')
    expect(said(2, 1)).toBe('ScaleDownStabilized')
    expect(said(13, 2)).toBe('ReadyForNewScale')
  })

  test('without a window up is immediate, and down waits the five minutes that the controller fills in', () => {
    const asked = new Asked(1, behavior({ stabilizationWindowSeconds: 0 }))
    expect(asked.replicas([1, 3], [2, 1], [300, 1], [302, 1])).toEqual([3, 3, 3, 1])
  })

  test('an autoscaler without behavior looks back five minutes for the highest, whatever the direction', () => {
    const asked = new Asked(1, undefined)
    expect(asked.replicas([10, 3], [20, 1], [310, 1], [311, 1])).toEqual([3, 3, 3, 1])
    expect(new Asked(1, undefined).ask(1, 9)).toMatchObject({ replicas: 4, limited: { reason: 'ScaleUpLimit' } })
    expect(new Asked(10, undefined).ask(1, 99)).toMatchObject({ replicas: 20, limited: { reason: 'ScaleUpLimit' } })
  })
})

describe('policies', () => {
  const at = (rules: Behavior, current: number, proposed: number) => {
    const asked = new Asked(current, rules)
    return asked.ask(1000, proposed)
  }
  const two = { type: 'Pods', value: 2, periodSeconds: 60 } as const
  const half = { type: 'Percent', value: 50, periodSeconds: 60 } as const

  test('the largest change wins unless the smallest is asked for, and Disabled allows none', () => {
    const up = (selectPolicy: 'Max' | 'Min' | 'Disabled') =>
      at(behavior({ selectPolicy, policies: [two, half] }), 10, 50).replicas
    expect([up('Max'), up('Min'), up('Disabled')]).toEqual([15, 12, 10])
    const down = (selectPolicy: 'Max' | 'Min' | 'Disabled') =>
      at(behavior({}, { selectPolicy, policies: [two, half], stabilizationWindowSeconds: 0 }), 10, 1).replicas
    expect([down('Max'), down('Min'), down('Disabled')]).toEqual([5, 8, 10])
  })

  test('percents are rounded up on the way up and cut off on the way down', () => {
    const tenth = { type: 'Percent', value: 10, periodSeconds: 60 } as const
    const rules = behavior({ policies: [tenth] }, { policies: [tenth], stabilizationWindowSeconds: 0 })
    expect(at(rules, 1, 5)).toMatchObject({ replicas: 2, limited: { status: 'True', reason: 'ScaleUpLimit' } })
    expect(at(rules, 3, 1)).toMatchObject({ replicas: 2, limited: { status: 'True', reason: 'ScaleDownLimit' } })
  })

  test('what was added within the period counts against it, and a later removal gives it back', () => {
    const rules = behavior({ policies: [two] }, { stabilizationWindowSeconds: 0 })
    const asked = new Asked(1, rules)
    expect(asked.replicas([10, 9], [40, 9], [69, 9], [70, 9])).toEqual([3, 3, 3, 5])
    expect(asked.replicas([80, 3], [90, 9])).toEqual([3, 5])
  })
})

describe('bounds', () => {
  const rules = behavior({}, { stabilizationWindowSeconds: 0 })
  test('the maximum and the minimum cut the proposal, and the condition says which', () => {
    const bounds = { min: 2, max: 4 }
    expect(new Asked(3, rules, bounds).ask(9, 9)).toMatchObject({
      ...{ replicas: 4, limited: { status: 'True', reason: 'TooManyReplicas' } },
    })
    expect(new Asked(3, rules, bounds).ask(9, 0)).toMatchObject({
      ...{ replicas: 2, limited: { status: 'True', reason: 'TooFewReplicas' } },
    })
    expect(new Asked(4, rules, bounds).ask(9, 9)).toMatchObject({
      ...{ replicas: 4, limited: { status: 'True', reason: 'TooManyReplicas' } },
    })
    for (const proposed of [2, 3, 4])
      expect(new Asked(3, rules, bounds).ask(9, proposed)).toMatchObject({
        ...{ replicas: proposed, limited: { status: 'False', reason: 'DesiredWithinRange' } },
      })
  })

  test('an autoscaler without behavior keeps to them too', () => {
    const bounds = { min: 2, max: 3 }
    expect(new Asked(2, undefined, bounds).ask(400, 9)).toMatchObject({ replicas: 3 })
    expect(new Asked(3, undefined, bounds).ask(400, 1)).toMatchObject({
      ...{ replicas: 2, limited: { status: 'True', reason: 'TooFewReplicas' } },
    })
  })
})

describe('what is read and written', () => {
  test('quantities are thousandths, rounded up', () => {
    expect(['1500m', '2', '0.5', '1k', '2e1', '100u', '0.29', '1.0001'].map(milli)).toEqual([
      ...[1500, 2000, 500, 1_000_000, 20_000, 1, 290, 1001],
    ])
    expect([1500, 3000, 0, 12_000_000, 12_500_000, 1_000_000_000].map(milliText)).toEqual([
      ...['1500m', '3', '0', '12k', '12500', '1M'],
    ])
  })

  test('selectors as a query and as a condition shows them', () => {
    const selector = {
      matchLabels: { variant_name: 'web', a: 'b' },
      matchExpressions: [
        { key: 'zone', operator: 'In', values: ['y', 'x'] },
        { key: 'old', operator: 'DoesNotExist' },
      ],
    }
    expect(selectorQuery(selector)).toBe('a=b,!old,variant_name=web,zone in (x,y)')
    expect(selectorText({ matchLabels: { variant_name: 'web' } })).toBe(
      '&LabelSelector{MatchLabels:map[string]string{variant_name: web,},MatchExpressions:[]LabelSelectorRequirement{},}',
    )
    expect(selectorText(selector)).toContain(
      'LabelSelectorRequirement{Key:zone,Operator:In,Values:[y x],},LabelSelectorRequirement{Key:old,Operator:DoesNotExist,Values:[],},}',
    )
    expect(selectorText(undefined)).toBe('nil')
  })
})
