import { afterAll, describe, expect, test } from '@jest/globals'
import { applyStack } from '../../src/cluster/apply.ts'
import { setReplicas } from '../../src/cluster/autoscaling.ts'
import { apply, get } from '../../src/cluster/objects.ts'
import { asFailure } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { chartBehavior, horizontalPodAutoscaler } from '../../src/stack/components/autoscaling.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { names } from '../../src/stack/names.ts'
import type { StackSpec } from '../../src/stack/spec.ts'
import { only, planOf, specWith } from '../unit/stack/specs.ts'
import { freshNamespace, open, raw, ring } from './ring.ts'

const api = open()
afterAll(() => api.close())
const signal = () => AbortSignal.timeout(20_000)
const leg = async (wva: boolean): Promise<{ spec: StackSpec; decode: KubeObject }> => {
  const model = await freshNamespace(api)
  const spec = specWith({ namespace: { model, harness: model }, wva })
  return { spec, decode: only(planOf(spec), 'Deployment', names(spec).decode) }
}
const replicasOf = (o: KubeObject | undefined) => (o?.spec as { replicas?: number } | undefined)?.replicas

describe('the number of replicas', () => {
  test('set through the scale subresource survives an apply that names none', async () => {
    const { spec, decode } = await leg(true)
    expect(replicasOf(await apply(api, decode))).toBe(1)
    const scale = await setReplicas(api, spec.namespace, decode.metadata.name, 3, signal())
    expect(scale).toMatchObject({ kind: 'Scale', spec: { replicas: 3 } })
    const scaled = await get(api, 'Deployment', spec.namespace, decode.metadata.name)
    // Nobody has applied a number, so the server does not write down who set it: a later apply may name one.
    expect(scaled?.metadata.managedFields).toMatchObject([{ manager: 'llm-d-bench-action', operation: 'Apply' }])
    const again = await apply(api, decode)
    expect(replicasOf(again)).toBe(3)
    expect(again.metadata.resourceVersion).toBe(scaled?.metadata.resourceVersion)
  })

  test('of a leg without WVA that somebody else has set is a conflict, and the failure names who and what', async () => {
    const { spec, decode } = await leg(false)
    await apply(api, decode)
    const path = `/apis/apps/v1/namespaces/${spec.namespace}/deployments/${decode.metadata.name}/scale`
    const type = 'application/merge-patch+json'
    const body = { spec: { replicas: 5 } }
    expect((await raw(ring, 'PATCH', `${path}?fieldManager=somebody`, { body, type })).status).toBe(200)
    const options = { signal: signal(), log: silentLog }
    const failure = asFailure(await applyStack(api, [decode], new Map(), options).catch(e => e))
    expect(failure).toMatchObject({ code: 'PREFLIGHT', what: expect.stringContaining('Somebody else owns a field') })
    expect(failure.why).toContain('.spec.replicas: conflict with "somebody" with subresource "scale"')
    expect(replicasOf(await get(api, 'Deployment', spec.namespace, decode.metadata.name))).toBe(5)
  })
})

describe('the HorizontalPodAutoscaler of a leg', () => {
  test('is taken with the windows of the chart and with windows of 0 s', async () => {
    const { spec } = await leg(true)
    const target = (behavior: typeof chartBehavior) => ({
      ...spec,
      autoscaling: { ...spec.autoscaling!, behavior },
    })
    const chart = await apply(api, horizontalPodAutoscaler(target(chartBehavior)))
    expect(chart.spec).toMatchObject({ minReplicas: 1, behavior: chartBehavior })
    const none = { stabilizationWindowSeconds: 0, policies: [{ type: 'Pods' as const, value: 10, periodSeconds: 1 }] }
    const quick = await apply(api, horizontalPodAutoscaler(target({ scaleUp: none, scaleDown: none })))
    expect(quick.spec).toMatchObject({ behavior: { scaleUp: { ...none, selectPolicy: 'Max' } } })
  })

  test('is refused with a ceiling under its floor and with a window of more than an hour', async () => {
    const { spec } = await leg(true)
    const refused = async (change: object) => {
      const hpa = horizontalPodAutoscaler({ ...spec, autoscaling: { ...spec.autoscaling!, ...change } })
      return asFailure(await applyStack(api, [hpa], new Map(), { signal: signal(), log: silentLog }).catch(e => e)).why
    }
    expect(await refused({ maxReplicas: 0 })).toContain('spec.maxReplicas')
    const behavior = { scaleUp: { ...chartBehavior.scaleUp, stabilizationWindowSeconds: 3601 } }
    expect(await refused({ behavior })).toContain('stabilizationWindowSeconds')
  })
})
