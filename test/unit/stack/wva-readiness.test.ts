import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { KubeObject } from '../../../src/stack/kube.ts'
import type { Readiness } from '../../../src/stack/spec.ts'
import {
  controllerReadiness,
  decisionOf,
  decisionReadiness,
  externalMetricReadiness,
  hpaReadiness,
  metricsReadiness,
  metricValue,
  serverLoad,
} from '../../../src/stack/wva-readiness.ts'

const why = (r: Readiness): string => ('why' in r ? `${r.state}: ${r.why}` : r.state)
const created = '2026-01-01T10:00:00Z'
const object = (kind: string, more: Record<string, unknown> = {}): KubeObject => ({
  apiVersion: 'x/v1',
  kind,
  metadata: {
    name: 'm-decode',
    creationTimestamp: created,
    labels: { 'inference.optimization/acceleratorName': 'H100' },
  },
  ...more,
})
const variant = (numReplicas: number | undefined, lastRunTime = '2026-01-01T10:01:00Z'): KubeObject =>
  object('VariantAutoscaling', {
    status:
      numReplicas === undefined ? {} : { desiredOptimizedAlloc: { accelerator: 'H100', numReplicas, lastRunTime } },
  })
const deployment = object('Deployment')

test('B50: the controller is a link: gone, scaled to 0, not available, restarting', () => {
  const live = (spec: object, status: object) => object('Deployment', { spec, status })
  const pods = (restartCount: number) => [
    object('Pod', { status: { containerStatuses: [{ name: 'm', restartCount }] } }),
  ]
  expect(why(controllerReadiness(live({ replicas: 1 }, { availableReplicas: 1 }), pods(3), 3))).toBe('ready')
  expect(why(controllerReadiness(undefined, [], 0))).toMatch(/^failed: .*is gone/)
  expect(why(controllerReadiness(live({ replicas: 0 }, {}), [], 0))).toBe('waiting: the WVA controller is scaled to 0')
  expect(why(controllerReadiness(live({ replicas: 2 }, {}), [], 0))).toMatch(/^waiting: no pod .* is available/)
  expect(why(controllerReadiness(live({ replicas: 1 }, { availableReplicas: 1 }), pods(2), 0))).toMatch(
    /^failed: .*restarted 2 times/,
  )
})

const page = (model = 'org/m') => `# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{engine="0",model_name="${model}"} 3.0
vllm:num_requests_waiting{engine="0",model_name="${model}"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="${model}"} 0.25
`
test('the gauges of a metrics page are read, and a page without one of them is none', () => {
  expect(serverLoad(page())).toEqual({ running: 3, waiting: 2, kvUsage: 0.25, model: 'org/m' })
  expect(serverLoad(page().replace(/vllm:kv.*\n/, ''))).toBeUndefined()
  expect(serverLoad('')).toBeUndefined()
})

test('B50: model servers without gauges, or under another name than the variant asks for, are the broken link', () => {
  expect(why(metricsReadiness(new Map([['a', page()]]), 'org/m'))).toBe('ready')
  expect(why(metricsReadiness(new Map(), 'org/m'))).toMatch(/^waiting/)
  expect(why(metricsReadiness(new Map([['a', undefined]]), 'org/m'))).toBe(
    'waiting: the metrics of pod a cannot be read',
  )
  expect(why(metricsReadiness(new Map([['a', 'x 1']]), 'org/m'))).toMatch(/pod a does not show the vllm gauges/)
  expect(why(metricsReadiness(new Map([['a', page('other')]]), 'org/m'))).toMatch(
    /^failed: pod a names its model other/,
  )
})

test('B50: a decision must be there, and be younger than its VariantAutoscaling', () => {
  expect(why(decisionReadiness(variant(1), deployment))).toBe('ready')
  expect(why(decisionReadiness(undefined, deployment))).toMatch(/^waiting/)
  expect(why(decisionReadiness(variant(undefined), deployment))).toMatch(/has not decided anything.*sees no metrics/)
  expect(why(decisionReadiness(variant(4, '2026-01-01T09:59:59Z'), deployment))).toMatch(/older than the Variant/)
  expect(why(decisionReadiness(variant(1, created), deployment))).toBe('ready')
})

test('B50: a VariantAutoscaling whose name is no Deployment, or without the accelerator label, is named', () => {
  expect(why(decisionReadiness(variant(1), undefined))).toMatch(/^failed: there is no Deployment m-decode/)
  const other = { ...deployment, metadata: { name: 'other' } }
  expect(why(decisionReadiness(variant(1), other))).toMatch(/^failed: there is no Deployment m-decode/)
  const bare = { ...variant(1), metadata: { name: 'm-decode', labels: {} } }
  expect(why(decisionReadiness(bare, deployment))).toMatch(/^failed: .*acceleratorName/)
})

test('a decision that stands still is an autoscaler that is blind', () => {
  const at = Date.parse('2026-01-01T10:01:00Z')
  const age = (ms: number) => why(decisionReadiness(variant(1), deployment, { nowMs: at + ms, maxMs: 180_000 }))
  expect(age(180_000)).toBe('ready')
  expect(age(181_000)).toMatch(/last decision is 181 s old/)
})

const answer = (values: number[], status = 200) => ({ status, message: 'no endpoints', values })
test('B50: the external metric must be there once, and be what was decided', () => {
  expect(why(externalMetricReadiness(answer([1]), 1))).toBe('ready')
  expect(why(externalMetricReadiness(answer([]), 1))).toMatch(/serves no value/)
  expect(why(externalMetricReadiness(answer([4]), 1))).toBe(
    'waiting: the external metrics API still serves 4, WVA has decided 1',
  )
  expect(why(externalMetricReadiness(answer([1, 1]), 1))).toMatch(/^failed: .*2 values \(1, 1\).*adds them up/)
  expect(why(externalMetricReadiness(answer([], 404), 1))).toMatch(/does not know inferno_desired_replicas/)
  expect(why(externalMetricReadiness(answer([], 503), 1))).toMatch(/not available: no endpoints/)
  expect(why(externalMetricReadiness(answer([], 500), 1))).toMatch(/answered 500: no endpoints$/)
  expect(why(externalMetricReadiness(answer([], 0), 1))).toBe(
    'waiting: the external metrics API did not answer: no endpoints',
  )
  expect(why(externalMetricReadiness(answer([], 403), 1))).toMatch(/^failed: .*may not read/)
})

test.each([
  ['2', 2],
  ['1500m', 1.5],
  ['1k', 1000],
  ['', Number.NaN],
  ['-1', Number.NaN],
  [null, Number.NaN],
])('the quantity %p is %p', (text, value) => expect(metricValue(text)).toBe(value))

const hpa = (status: object | undefined) => object('HorizontalPodAutoscaler', status === undefined ? {} : { status })
const active = (status: string, message = '') => ({ type: 'ScalingActive', status, reason: 'r', message })
test('B50: the HPA must act on a current value', () => {
  const current = [{ type: 'External', external: { current: { averageValue: '1' } } }]
  expect(why(hpaReadiness(hpa({ conditions: [active('True')], currentMetrics: current })))).toBe('ready')
  expect(why(hpaReadiness(undefined))).toMatch(/not there/)
  expect(why(hpaReadiness(hpa(undefined)))).toMatch(/has not looked/)
  expect(why(hpaReadiness(hpa({ conditions: [active('False', 'no metrics returned')] })))).toMatch(
    /ScalingActive is False: no metrics returned/,
  )
  expect(why(hpaReadiness(hpa({ conditions: [active('True')], currentMetrics: [] })))).toMatch(/no current value/)
})

test('B50: of a long condition of the HPA the cause is kept, which stands at its end', () => {
  const selector = `&LabelSelector{MatchLabels:map[string]string{variant_name: ${'m'.repeat(120)},},MatchExpressions:[],}`
  const tried = `the HPA was unable to compute the replica count: unable to get external metric ns/inferno_desired_replicas/${selector}`
  const cause = 'unable to fetch metrics from external metrics API: it is forbidden'
  const sentence = why(hpaReadiness(hpa({ conditions: [active('False', `${tried}: ${cause}`)] })))
  expect(sentence).toMatch(/^waiting: ScalingActive is False: the HPA was unable to compute/)
  expect(sentence.endsWith(`: ${cause}`)).toBe(true)
  expect(sentence).toHaveLength('waiting: ScalingActive is False: '.length + 300)
})

test('whatever stands in a status, the sentences are one line and nothing throws', () => {
  fc.assert(
    fc.property(fc.anything(), fc.string(), (status, text) => {
      const live = object('X', { status })
      for (const r of [
        decisionReadiness(live, deployment),
        hpaReadiness(live),
        controllerReadiness(live, [live], 0),
        metricsReadiness(new Map([['p', text]]), 'm'),
      ])
        expect(why(r)).not.toMatch(/\n/)
      decisionOf(live)
    }),
  )
})
