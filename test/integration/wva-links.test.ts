import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import type { Failure } from '../../src/errors.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { configName } from '../sandbox/wva/controller.ts'
import { acceleratorLabel } from '../sandbox/wva/variants.ts'
import { adapter, Chain, controllers, externalMetrics, prometheus } from './wva-chain.ts'

/** How long a link that never works is waited for. */
const patience = '3s'
const variants = 'variantautoscalings.llmd.ai'
const decided = ({ status }: KubeObject) =>
  (status as { desiredOptimizedAlloc?: object } | undefined)?.desiredOptimizedAlloc !== undefined
const apiService = {
  ...{ resource: 'apiservices.apiregistration.k8s.io', namespace: undefined },
  name: 'v1beta1.external.metrics.k8s.io',
}

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

describe('one controller', () => {
  let chain: Chain
  beforeAll(async () => {
    chain = await Chain.start()
  })
  afterAll(() => chain?.close())
  afterEach(async () => {
    chain.sandbox.faults.api.clear()
    await chain.repair()
  })

  /** Stands up, must fail there, and must leave nothing but what is kept on purpose. */
  async function fails(gates = patience): Promise<Failure> {
    const stood = await chain.standup({}, gates)
    const left = await chain.post(stood)
    expect(left).toEqual([])
    expect(stood.outcome.failure).toBeDefined()
    expect(stood.outcome.leg?.failure?.code).toBe(stood.outcome.failure?.code)
    return stood.outcome.failure!
  }
  /** As `fails`, before anything was written. */
  async function isRefused(): Promise<Failure> {
    const before = chain.writes().length
    const failure = await fails()
    expect(failure.code).toBe('PLATFORM')
    expect(chain.writes().slice(before)).toEqual([])
    return failure
  }
  const brokenAt = (link: string, why: unknown) => ({
    ...{ code: 'WVA_CHAIN', what: `The autoscaling chain is broken at ${link}.`, why },
  })

  test('B50: a standup ends when every link was seen working, and its post leaves nothing', async () => {
    const stood = await chain.stands()
    expect(chain.desired).toBe(1)
    expect(await chain.metric()).toEqual(['1'])
    expect(await chain.post(stood)).toEqual([])
  })

  test('B43: without a controller standup names the command that installs one, before anything is written', async () => {
    chain.remove(controllers)
    const failure = await isRefused()
    expect(failure.what).toBe('No WVA controller is installed.')
    expect(failure.evidence.join('\n')).toContain('helm upgrade --install workload-variant-autoscaler')
  })

  test('B50: a controller that is scaled to 0 is named', async () => {
    chain.scale(controllers, 0)
    expect(await fails()).toMatchObject(
      brokenAt('the WVA controller', 'Not ready after 3 s: the WVA controller is scaled to 0.'),
    )
  })

  test('B50: a controller that cannot use its Prometheus crashes, and that is named', async () => {
    await chain.configure(controllers, configName, data => {
      data.PROMETHEUS_BASE_URL = 'http://prometheus:9090'
    })
    const failure = await fails()
    expect(failure).toMatchObject(
      brokenAt('the WVA controller', expect.stringMatching(/restarted|no pod .* available/)),
    )
  })

  test('B50: a variant without its accelerator label is named, for WVA decides nothing about it', async () => {
    chain.whenThere(variants, () =>
      chain.edit(chain.own(variants), draft => {
        delete draft.metadata.labels![acceleratorLabel]
      }),
    )
    expect(await fails('15s')).toMatchObject(
      brokenAt('the decision of WVA', expect.stringContaining(`no label ${acceleratorLabel}`)),
    )
  })

  test('B50: a variant whose Deployment is gone is named, for WVA binds the two by name', async () => {
    chain.whenThere(variants, () => chain.remove(chain.own('deployments.apps')))
    expect(await fails('15s')).toMatchObject(
      brokenAt(
        'the decision of WVA',
        `There is no Deployment ${chain.decode} for the VariantAutoscaling of that name.`,
      ),
    )
  })

  test('external metrics that belong to somebody else are named, before anything is written', async () => {
    chain.edit(apiService, draft =>
      Object.assign((draft.spec as { service: object }).service, {
        namespace: 'keda',
        name: 'keda-operator-metrics-apiserver',
      }),
    )
    const failure = await isRefused()
    expect(failure.what).toContain('belongs to keda/keda-operator-metrics-apiserver')
    expect(failure.why).toContain('KEDA claims it again')
  })

  test('an adapter that is not available is named with the words of its APIService, before anything is written', async () => {
    chain.scale(adapter, 0)
    await chain.sandbox.until('the condition', () =>
      JSON.stringify(chain.peek(apiService)?.status ?? '').includes('MissingEndpoints'),
    )
    const failure = await isRefused()
    expect(failure.what).toBe(
      'The external metrics API (openshift-user-workload-monitoring/prometheus-adapter) is not available.',
    )
    expect(failure.why).toContain('endpointslices for service/prometheus-adapter')
    expect(failure.why).toContain('have no addresses')
  })

  test('B50: an adapter without the rule is named at the external metrics API', async () => {
    await chain.configure(adapter, adapter.name, data => {
      data['config.yaml'] = 'externalRules: []'
    })
    expect(await fails()).toMatchObject(
      brokenAt('the external metrics API', expect.stringContaining('does not know inferno_desired_replicas')),
    )
  })

  test('B50: an adapter whose rule looks at the wrong namespace label serves nothing, and that is named', async () => {
    await chain.configure(adapter, adapter.name, data => {
      data['config.yaml'] = data['config.yaml']!.replaceAll(/^(\s+)exported_namespace:/gm, '$1namespace:')
    })
    expect(await fails()).toMatchObject(
      brokenAt(
        'the external metrics API',
        'Not ready after 3 s: the external metrics API serves no value for the variant.',
      ),
    )
  })

  test('B50: a Prometheus that goes away after the decision is named at the external metrics API', async () => {
    chain.whenThere(variants, () => chain.scale(prometheus, 0), decided)
    const failure = await fails()
    expect(failure).toMatchObject(brokenAt('the external metrics API', expect.stringContaining('answered 500')))
    expect(failure.why).toContain('unable to fetch metrics')
  })

  test('B50: a controller that is not scraped is named at the external metrics API', async () => {
    chain.remove({
      ...controllers,
      ...{ resource: 'servicemonitors.monitoring.coreos.com', name: `${controllers.name}-metrics-monitor` },
    })
    expect(await fails()).toMatchObject(
      brokenAt('the external metrics API', expect.stringMatching(/no series for it|no value/)),
    )
  })

  test('B50: an HPA whose identity may not read the metric is named, with its condition', async () => {
    chain.sandbox.faults.api.add({
      match: r => r.userAgent.startsWith('kube-controller-manager') && r.path.startsWith(externalMetrics),
      ...{ status: 403, reason: 'Forbidden', message: 'inferno_desired_replicas.external.metrics.k8s.io is forbidden' },
    })
    const failure = await fails()
    expect(failure).toMatchObject(brokenAt('the HPA', expect.stringContaining('ScalingActive is False: ')))
    expect(failure.why).toContain('is forbidden')
  })

  test('B50: an HPA that has lost its metric is named, with its condition', async () => {
    // The metric gate has seen the value; the HPA's first look comes a period later.
    chain.whenThere('horizontalpodautoscalers.autoscaling', () => chain.scale(adapter, 0))
    const failure = await fails()
    expect(failure).toMatchObject(brokenAt('the HPA', expect.stringContaining('ScalingActive is False: ')))
    expect(failure.why).toContain('the server is currently unable to handle the request')
  })

  test('the same model under WVA in another namespace is named, and no Lease is waited for', async () => {
    chain.sandbox.api.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } })
    chain.sandbox.api.store.create({
      ...{ apiVersion: 'llmd.ai/v1alpha1', kind: 'VariantAutoscaling' },
      metadata: { name: 'theirs', namespace: 'elsewhere', labels: { [acceleratorLabel]: 'H100' } },
      spec: { modelID: chain.world.inputsOf.standup.model, variantCost: '10.0' },
    })
    const before = chain.writes().length
    const failure = await fails().finally(() => chain.sandbox.api.store.delete('namespaces', undefined, 'elsewhere'))
    expect(failure).toMatchObject({ code: 'PLATFORM', why: expect.stringContaining('elsewhere/theirs') })
    expect(chain.text).not.toContain('waiting for')
    expect(
      chain
        .writes()
        .slice(before)
        .filter(r => !r.path.includes('/leases')),
    ).toEqual([])
  })
})

describe('a Prometheus that wants a label on what it scrapes', () => {
  let chain: Chain
  beforeAll(async () => {
    chain = await Chain.start({ serviceMonitorSelector: { release: 'x' } })
  })
  afterAll(() => chain?.close())

  test('B50: without the label WVA sees no metrics; the failure names ServiceMonitor and input', async () => {
    const stood = await chain.standup({}, patience)
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
    const stood = await chain.standup({}, patience)
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
