import { expect, test } from '@jest/globals'
import { chartBehavior } from '../../../src/stack/components/autoscaling.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { expectedReaction, reactionWarning, startSeconds } from '../../../src/timeline/reaction.ts'

const at = (stepSeconds: number, behavior = chartBehavior, startS = 100) =>
  expectedReaction({ behavior, reconcileMs: 60_000, startSeconds: startS, stepSeconds })

test('with the windows of the chart a reaction takes 400 s, and does not fit into a step of 120 s', () => {
  const reaction = at(120)
  expect(reaction).toEqual({ seconds: 400, parts: { window: 240, reconcile: 60, start: 100 }, stepSeconds: 120 })
  expect(reactionWarning(reaction)).toMatch(
    /about 400 s .*longer than a step of 120 s.*no scale-up window.*chatbot_autoscaling/,
  )
})

test('a step of 600 s is long enough, and nothing is said', () => {
  expect(at(600)).not.toHaveProperty('windowThatFits')
  expect(reactionWarning(at(600))).toBeUndefined()
})

test('a window that would fit leaves a third of the step to the new replica', () => {
  const reaction = at(300, chartBehavior, 20)
  expect(reaction.windowThatFits).toBe(120)
  expect(reactionWarning(reaction)).toContain('hpa-behavior: {scaleUp: {stabilizationWindowSeconds: 120}}')
  const again = at(300, { scaleUp: { stabilizationWindowSeconds: 120 } }, 20)
  expect(again.seconds).toBe(200)
  expect(reactionWarning(again)).toBeUndefined()
})

test('without a window for scaling up the default of the API counts, which is none', () => {
  expect(at(120, {}).parts.window).toBe(0)
})

const pod = (startedAt: string, ready: string, status = 'True'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p' },
  status: {
    conditions: [{ type: 'Ready', status, lastTransitionTime: ready }],
    containerStatuses: [{ name: 'vllm', state: { running: { startedAt } } }],
  },
})
test('the start-up of a model server is measured from its container to its readiness, the slowest counts', () => {
  const pods = [
    pod('2026-01-01T00:00:00Z', '2026-01-01T00:01:30Z'),
    pod('2026-01-01T00:00:00Z', '2026-01-01T00:02:00Z'),
    pod('2026-01-01T00:00:00Z', '2026-01-01T00:09:00Z', 'False'),
  ]
  expect(startSeconds(pods)).toBe(120)
  expect(startSeconds([])).toBeUndefined()
  expect(startSeconds([{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'x' } }])).toBeUndefined()
})
