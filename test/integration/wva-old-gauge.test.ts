import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Chain, externalMetrics } from './wva-chain.ts'
import { pause } from './wva-platform.ts'

let chain: Chain
beforeAll(async () => {
  chain = await Chain.start()
})
afterAll(() => chain?.close())

const hpas = 'horizontalpodautoscalers.autoscaling'

test('B50: a stack of the same name that stands up while the gauge of the one before is served is never scaled by it', async () => {
  const first = await chain.stands({ 'max-replicas': '3' })
  const stop = chain.load()
  await chain.sandbox.until('3 replicas', () => chain.replicas === 3)
  await stop()
  expect(await chain.post(first)).toEqual([])
  const left = Number((await chain.metric())[0])
  expect(left).toBeGreaterThanOrEqual(3)

  const asked: number[] = []
  let servedBefore: Promise<string[]> | undefined
  let decidedFirst: number | undefined
  const unsubscribe = chain.sandbox.api.store.subscribe(({ type, resource, object }) => {
    if (object.metadata.name !== chain.decode) return
    if (resource === 'deployments.apps' && type !== 'DELETED')
      asked.push((object.spec as { replicas?: number }).replicas ?? 0)
    if (type !== 'ADDED') return
    if (resource === 'variantautoscalings.llmd.ai') servedBefore ??= chain.metric()
    if (resource === hpas) decidedFirst = chain.desired
  })
  const from = chain.sandbox.api.requests().length
  await chain.stands({ 'max-replicas': '3' })
  // Long enough for the HPA to act several times on whatever it was told.
  await pause(3000)
  unsubscribe()

  // It was a danger: what was served when the VariantAutoscaling came was still the number of before.
  expect((await servedBefore)?.map(Number)).toEqual([left])
  expect(decidedFirst).toBe(1)
  const ours = chain.sandbox.api
    .requests()
    .slice(from)
    .filter(r => r.userAgent.includes('bench-action'))
  const hpaMade = ours.findIndex(
    r => r.method === 'PATCH' && r.path.endsWith(`/horizontalpodautoscalers/${chain.decode}`),
  )
  const variantMade = ours.findIndex(
    r => r.method === 'PATCH' && r.path.endsWith(`/variantautoscalings/${chain.decode}`),
  )
  const metricRead = ours.findLastIndex(
    (r, i) => i < hpaMade && r.path.startsWith(`${externalMetrics}v1beta1/namespaces`),
  )
  expect(variantMade).toBeGreaterThan(-1)
  expect(metricRead).toBeGreaterThan(variantMade)
  expect(hpaMade).toBeGreaterThan(metricRead)
  expect(ours.filter(r => r.method === 'PATCH' && r.path.includes('/horizontalpodautoscalers'))).toHaveLength(1)
  expect(Math.max(...asked)).toBe(1)
  expect(chain.replicas).toBe(1)
  expect(await chain.metric()).toEqual(['1'])
}, 180_000)
