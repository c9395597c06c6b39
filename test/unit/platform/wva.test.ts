import { expect, test } from '@jest/globals'
import type { UserError } from '../../../src/errors.ts'
import { groupVersionsOf, missing } from '../../../src/platform/requirements.ts'
import { judgeVariants, judgeWva, type WvaFacts } from '../../../src/platform/wva.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'

const wanted = { controllerNamespace: 'llm-d-autoscaler', version: '0.4.2' }
const controller = (namespace = 'llm-d-autoscaler', tag = 'v0.4.2'): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'workload-variant-autoscaler-controller-manager', namespace },
  spec: {
    template: {
      spec: {
        containers: [
          { name: 'proxy', image: 'registry.example.com/proxy:v9' },
          { name: 'manager', image: `ghcr.io/llm-d-incubation/workload-variant-autoscaler:${tag}` },
        ],
      },
    },
  },
})
const apiService = (name: string, status = 'True', message = ''): KubeObject => ({
  apiVersion: 'apiregistration.k8s.io/v1',
  kind: 'APIService',
  metadata: { name: 'v1beta1.external.metrics.k8s.io' },
  spec: { service: { namespace: 'monitoring', name } },
  status: { conditions: [{ type: 'Available', status, message }] },
})
const variant = (namespace: string, modelID: string): KubeObject => ({
  apiVersion: 'llmd.ai/v1alpha1',
  kind: 'VariantAutoscaling',
  metadata: { name: 'v', namespace },
  spec: { modelID },
})
const facts: WvaFacts = {
  controllers: [controller()],
  apiService: apiService('prometheus-adapter'),
  definition: undefined,
}
const failureOf = (changes: Partial<WvaFacts>) => {
  try {
    judgeWva({ ...facts, ...changes }, wanted)
  } catch (error) {
    return (error as UserError).failure
  }
  throw new Error('accepted')
}

test('B44: a controller that is there is used as it is, and what differs is said', () => {
  expect(judgeWva(facts, wanted)).toEqual({
    controller: {
      namespace: 'llm-d-autoscaler',
      name: 'workload-variant-autoscaler-controller-manager',
      version: '0.4.2',
    },
    notes: [],
  })
  const { notes, controller: found } = judgeWva({ ...facts, controllers: [controller('elsewhere', 'v0.4.1')] }, wanted)
  expect(found).toMatchObject({ namespace: 'elsewhere', version: '0.4.1' })
  expect(notes.join('\n')).toMatch(/runs in elsewhere, not in llm-d-autoscaler/)
  expect(notes.join('\n')).toMatch(/0\.4\.1 is installed where 0\.4\.2 was expected/)
})

test.each<[string, Partial<WvaFacts>, RegExp]>([
  ['no controller', { controllers: [] }, /No WVA controller is installed/],
  [
    'two controllers, which double the series',
    { controllers: [controller(), controller('other')] },
    /2 WVA controllers.*llm-d-autoscaler\/.*other\/.*doubles/,
  ],
  ['a controller of another generation', { controllers: [controller('a', 'v0.5.1')] }, /a\/.*version 0\.5\.1/],
  ['a controller of no known version', { controllers: [controller('a', 'main')] }, /version main/],
  ['nobody who serves external metrics', { apiService: null }, /Nobody serves external metrics/],
  [
    'external metrics that belong to another adapter',
    { apiService: apiService('keda-operator-metrics-apiserver') },
    /belongs to monitoring\/keda-operator-metrics-apiserver/,
  ],
  [
    'an adapter that is not available',
    { apiService: apiService('prometheus-adapter', 'False', 'endpoints have no addresses') },
    /not available.*endpoints have no addresses/,
  ],
  [
    'the definition of the next generation',
    {
      definition: {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: 'variantautoscalings.llmd.ai' },
        spec: {
          versions: [
            {
              name: 'v1alpha1',
              schema: { openAPIV3Schema: { properties: { spec: { required: ['modelID', 'scaleTargetRef'] } } } },
            },
          ],
        },
      },
    },
    /0\.5 or newer.*scaleTargetRef/,
  ],
])('a platform with %s is refused by name', (_name, changes, pattern) => {
  const failure = failureOf(changes)
  expect(failure.code).toBe('PLATFORM')
  expect(`${failure.what} ${failure.why}`).toMatch(pattern)
})

test('what may not be read is not judged', () => {
  expect(judgeWva({ ...facts, apiService: undefined }, wanted).notes).toEqual([])
})

test('the same model under WVA in another namespace is refused; the own namespace and other models are not', () => {
  const own = { namespace: 'bench', model: 'org/model' }
  expect(() => judgeVariants([variant('bench', 'org/model'), variant('x', 'a/b')], own)).not.toThrow()
  expect(() => judgeVariants([variant('theirs', 'org/model')], own)).toThrow(/org\/model is already under WVA/)
})

test('B43: a cluster without WVA lacks it by name, and a leg without WVA does not ask for it', () => {
  const all = groupVersionsOf(true).map(gv => {
    const [group = '', version = ''] = gv.split('/')
    const kinds = ['GatewayClass', 'Gateway', 'HTTPRoute', 'InferencePool', 'InferenceObjective', 'DestinationRule']
    return { group, version, kinds: [...kinds, 'ServiceMonitor', 'VariantAutoscaling'] }
  })
  expect(missing(all, undefined, 'istio', true)).toEqual([])
  for (const [group, id] of [
    ['llmd.ai', 'wva'],
    ['monitoring.coreos.com', 'prometheus-operator'],
    ['external.metrics.k8s.io', 'external-metrics'],
  ]) {
    const served = all.filter(s => s.group !== group)
    expect(missing(served, undefined, 'istio', true).map(m => m.requirement.id)).toEqual([id])
    expect(missing(served, undefined, 'istio', false)).toEqual([])
  }
})
