import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Chain, controllers } from './wva-chain.ts'

// Platforms that are installed in another way, or not at all: a sandbox each.

describe('a cluster without the platform', () => {
  let chain: Chain
  beforeAll(async () => {
    chain = await Chain.without({ omitCrds: ['variantautoscalings.llmd.ai'] })
  })
  afterAll(() => chain?.close())

  test('B43: is told what it lacks, with the commands that install it, before anything is written', async () => {
    const stood = await chain.standup()
    expect(stood.outcome.failure).toMatchObject({
      code: 'PLATFORM',
      what: expect.stringMatching(/Workload Variant Autoscaler.*external metrics API/),
      why: expect.stringContaining('VariantAutoscaling (llmd.ai/v1alpha1)'),
    })
    const commands = stood.outcome.failure!.evidence.join('\n')
    expect(commands).toContain('helm upgrade --install workload-variant-autoscaler oci://')
    expect(commands).toContain('helm upgrade --install prometheus-adapter')
    expect(chain.writes()).toEqual([])
    expect(await chain.post(stood)).toEqual([])
  })
})

describe('a Prometheus that wants a label on what it scrapes', () => {
  let chain: Chain
  beforeAll(async () => {
    chain = await Chain.start({ serviceMonitorSelector: { release: 'x' } })
  })
  afterAll(() => chain?.close())

  test('B50: without the label WVA sees no metrics; the failure names ServiceMonitor and input', async () => {
    const stood = await chain.standup({}, '5s')
    expect(stood.outcome.failure).toMatchObject({
      ...{ code: 'WVA_CHAIN', what: 'The autoscaling chain is broken at the decision of WVA.' },
      why: expect.stringContaining('WVA has not decided anything for it: it sees no metrics'),
      next: expect.stringMatching(`selects the ServiceMonitor ${chain.vllm} \\(input service-monitor-labels\\)`),
    })
    // The controller says it in its own words.
    expect(stood.outcome.failure!.evidence.join('\n')).toContain('reason=MetricsMissing')
    expect(await chain.post(stood)).toEqual([])
  })

  test('B50: with the input that gives the label the chain works', async () => {
    const stood = await chain.stands({ 'service-monitor-labels': 'release: x' })
    expect(chain.desired).toBe(1)
    expect(await chain.post(stood)).toEqual([])
  })
})

describe('two controllers, and an adapter that serves each series', () => {
  let chain: Chain
  beforeAll(async () => {
    chain = await Chain.start({ controllers: 2, rule: 'plain' })
  })
  afterAll(() => chain?.close())

  test('B44: whoever may list all Deployments is told of both, before anything is written', async () => {
    const stood = await chain.standup({}, '5s')
    expect(stood.outcome.failure).toMatchObject({ code: 'PLATFORM', what: '2 WVA controllers run in this cluster.' })
    for (const where of [controllers.namespace, `${controllers.namespace}-2`])
      expect(stood.outcome.failure!.why).toContain(`${where}/${controllers.name}`)
    expect(chain.writes()).toEqual([])
    expect(await chain.post(stood)).toEqual([])
  })

  test('B50: without that right the doubled metric tells, and its failure names both values', async () => {
    const token = chain.sandbox.api.tokens.add({
      name: 'bench',
      policy: a => !(a.group === 'apps' && a.resource === 'deployments' && a.namespace === ''),
    })
    const stood = await chain.standup({ kubeconfig: chain.sandbox.api.kubeconfig({ token }) }, '15s')
    expect(chain.text).toContain('a second WVA controller outside llm-d-autoscaler is not seen')
    expect(stood.outcome.failure).toMatchObject({
      ...{ code: 'WVA_CHAIN', what: 'The autoscaling chain is broken at the external metrics API.' },
      why: 'The external metrics API serves 2 values (1, 1) for one variant, and an HPA adds them up.',
      next: expect.stringContaining('Two WVA controllers'),
    })
    expect(chain.replicas).toBe(1)
    expect(await chain.post(stood)).toEqual([])
  })
})
