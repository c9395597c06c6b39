import type { FailureRecord, LegDocument, Repeat, Step } from '../../../src/results/schema.ts'
import { legOf, type Request, repeatOf, steady, stepOf } from '../results/legs.ts'
import { at, begin, deployment, hpa, metric, offsetMs, pod, scrape, wva } from '../timeline/chain.ts'

const seconds = 120

/** The last `cut` requests of a step were still waiting when it ended. */
const cutOff = (requests: readonly Request[], cut: number): Request[] =>
  requests.map((r, i) =>
    i < requests.length - cut
      ? r
      : {
          scheduled: r.scheduled,
          status: 'i',
          firstToken: null,
          lastToken: null,
          end: null,
          outputTokens: 0,
          itlMs: null,
        },
  )

/** Steps of 120 s, one after the other; per rate how long a request takes, s, and how many were cut off. */
export const stepsOf = (
  rates: readonly number[],
  latency: (rate: number, i: number) => number,
  cut: (rate: number, i: number) => number,
): Step[] =>
  rates.map((rate, index) =>
    stepOf(cutOff(steady(rate * seconds, rate, latency(rate, index)), cut(rate, index)), {
      index,
      rate,
      seconds,
      begin: begin + index * seconds,
    }),
  )

export const ups = [1, 2, 4]
export const upsAndDowns = [1, 2, 4, 2, 1]

const workload = (rates: readonly number[]): NonNullable<LegDocument['identity']['workload']> => ({
  ...legOf([]).identity.workload!,
  rates: [...rates],
  secondsPerRate: seconds,
})

export function baselineLeg(rates: readonly number[], change: Partial<LegDocument> = {}): LegDocument {
  const steps = stepsOf(
    rates,
    rate => 1 + rate,
    rate => (rate === 4 ? 120 : rate),
  )
  const leg = legOf([repeatOf(1, steps), repeatOf(2, steps)], change)
  return { ...leg, identity: { ...leg.identity, workload: workload(rates) } }
}

/** A second replica is decided 30 s after the rate of 4 began, and is ready 110 s later; `late` delays it, s. */
export const wvaRepeat = (index: number, rates: readonly number[], change: Partial<Repeat> = {}, late = 0): Repeat => {
  const busy = rates.indexOf(4) * seconds
  const steps = stepsOf(
    rates,
    rate => 1.5 + rate,
    (rate, i) => (rate === 4 ? 60 : rate + i),
  )
  return repeatOf(index, steps, {
    clockOffsetMs: offsetMs,
    settled: index === 1 ? { how: 'proven', seconds: 2, tries: 0 } : { how: 'reset', seconds: 155.4, tries: 1 },
    events: [
      at(-20, deployment(1, 1)),
      at(-20, pod('a', 'ready')),
      at(-20, wva(1)),
      at(-20, hpa(1, 1)),
      at(-20, metric(1)),
      at(-15, scrape('a', 0)),
      at(busy + 10, scrape('a', 9)),
      at(busy + 30 + late, wva(2)),
      at(busy + 110 + late, hpa(2, 1)),
      at(busy + 110 + late, deployment(2, 1)),
      at(busy + 112 + late, pod('b', 'bound')),
      at(busy + 140 + late, pod('b', 'ready')),
      at(busy + 140 + late, deployment(2, 2)),
    ],
    ...change,
  })
}

export function wvaLeg(
  rates: readonly number[],
  repeats: readonly Repeat[],
  change: Partial<LegDocument> = {},
): LegDocument {
  const leg = legOf(repeats, {
    leg: 'wva',
    reaction: {
      seconds: 320,
      parts: { window: 240, reconcile: 60, start: 20 },
      stepSeconds: seconds,
      windowThatFits: 30,
    },
    ...change,
  })
  const { replicas: _fixed, ...identity } = leg.identity
  return {
    ...leg,
    identity: { ...identity, wva: true, maxReplicas: 10, wvaVersion: '0.4.2', workload: workload(rates) },
  }
}

export const chainFailure: FailureRecord = {
  code: 'WVA_CHAIN',
  what: 'The external metric inferno_desired_replicas is not served for this model.',
  why: 'prometheus-adapter answers 404: its rule does not match the series of the controller.',
  next: 'Add the rule of docs/platform.md to prometheus-adapter and run the job again.',
  evidence: ['GET /apis/external.metrics.k8s.io/v1beta1/namespaces/llm-d-bench/inferno_desired_replicas: 404'],
}
