import { expect, test } from '@jest/globals'
import { acceleratorName } from '../../../src/stack/accelerator.ts'
import { isScaler } from '../../../src/stack/components/autoscaling.ts'
import { inventory, readInventory } from '../../../src/stack/inventory.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { only, planOf, specWith, standupRun } from './specs.ts'

const decode = 'meta-lla-1ebbf38c-a-3-1-8b-decode'
const vllm = 'meta-lla-1ebbf38c-a-3-1-8b-vllm'
const wva = specWith({ wva: true })

test('B41: without the input no object of the autoscaler is made', () => {
  const kinds = stackObjects(specWith()).map(o => o.kind)
  for (const kind of ['VariantAutoscaling', 'HorizontalPodAutoscaler', 'ServiceMonitor'])
    expect(kinds).not.toContain(kind)
  expect(planOf(specWith())).toHaveLength(18)
})

test('B45, B46: a WVA leg has 22 objects, the four of the autoscaler named after the model', () => {
  const objects = planOf(wva)
  expect(objects).toHaveLength(22)
  expect(only(objects, 'VariantAutoscaling', decode)).toMatchObject({
    metadata: { labels: { 'inference.optimization/acceleratorName': 'H100' } },
    spec: { modelID: 'meta-llama/Llama-3.1-8B', variantCost: '10.0' },
  })
  expect(only(objects, 'HorizontalPodAutoscaler', decode).spec).toMatchObject({
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: decode },
    minReplicas: 1,
    maxReplicas: 10,
    behavior: {
      scaleUp: { stabilizationWindowSeconds: 240, selectPolicy: 'Max' },
      scaleDown: { stabilizationWindowSeconds: 240, selectPolicy: 'Max' },
    },
    metrics: [
      {
        type: 'External',
        external: {
          metric: { name: 'inferno_desired_replicas', selector: { matchLabels: { variant_name: decode } } },
          target: { type: 'AverageValue', averageValue: '1' },
        },
      },
    ],
  })
  expect(only(objects, 'Service', vllm).spec).toMatchObject({
    selector: { 'llm-d.ai/model': 'meta-lla-1ebbf38c-a-3-1-8b' },
    ports: [{ name: 'vllm', port: 8200, targetPort: 8200 }],
  })
  expect(only(objects, 'ServiceMonitor', vllm).spec).toMatchObject({
    namespaceSelector: { matchNames: ['llm-d-vezio'] },
    endpoints: [{ port: 'vllm', path: '/metrics', interval: '15s', scheme: 'http' }],
  })
})

test('ceiling, behaviour and accelerator of a leg are those that were asked for and found', () => {
  const hpaBehavior = { scaleUp: { stabilizationWindowSeconds: 30 }, scaleDown: { stabilizationWindowSeconds: 60 } }
  const objects = planOf(
    specWith({ wva: true, maxReplicas: 3, hpaBehavior }, { accelerator: { key: 'k', value: 'NVIDIA-A100-SXM4-80GB' } }),
  )
  expect(only(objects, 'HorizontalPodAutoscaler', decode).spec).toMatchObject({ maxReplicas: 3, behavior: hpaBehavior })
  expect(only(objects, 'VariantAutoscaling', decode).metadata.labels).toMatchObject({
    'inference.optimization/acceleratorName': 'A100',
  })
})

test('the ServiceMonitor selects the Service, and carries the labels that the Prometheus asks for', () => {
  const objects = planOf(specWith({ wva: true, serviceMonitorLabels: { release: 'kube-prometheus-stack' } }))
  const monitor = only(objects, 'ServiceMonitor')
  const wanted = (monitor.spec as { selector: { matchLabels: Record<string, string> } }).selector.matchLabels
  expect(only(objects, 'Service', vllm).metadata.labels).toMatchObject(wanted)
  expect(monitor.metadata.labels).toMatchObject({
    release: 'kube-prometheus-stack',
    'openshift.io/user-monitoring': 'true',
  })
})

test('under an autoscaler the Deployment names no number of replicas: an apply would undo what was decided', () => {
  expect(only(planOf(wva), 'Deployment', decode).spec).not.toHaveProperty('replicas')
  expect(only(planOf(specWith()), 'Deployment', decode).spec).toHaveProperty('replicas', 2)
})

test('the scalers are the two objects that come after the pods', () => {
  expect(
    planOf(wva)
      .filter(isScaler)
      .map(o => o.kind)
      .sort(),
  ).toEqual(['HorizontalPodAutoscaler', 'VariantAutoscaling'])
})

test('the inventory keeps what the scalers are made of, and reads back the same', () => {
  const kept = readInventory(inventory(wva, stackObjects(wva), { ...standupRun, leg: 'wva', lifetime: 'ttl' }))
  expect(kept).toMatchObject({
    wva: true,
    leg: 'wva',
    lifetime: 'ttl',
    replicas: 1,
    autoscaling: {
      maxReplicas: 10,
      acceleratorName: 'H100',
      controllerNamespace: 'llm-d-autoscaler',
      controllerVersion: '0.4.2',
      behavior: { scaleUp: { stabilizationWindowSeconds: 240 } },
    },
  })
  expect(kept.objects.map(o => o.kind)).toEqual(
    expect.arrayContaining(['VariantAutoscaling', 'HorizontalPodAutoscaler', 'ServiceMonitor']),
  )
})

test.each([
  ['NVIDIA-H100-80GB-HBM3', 'H100'],
  ['nvidia-h100-mega-80gb', 'H100'],
  ['NVIDIA-H200', 'H200'],
  ['NVIDIA-A100-SXM4-80GB', 'A100'],
  ['NVIDIA-L40S', 'L40S'],
  ['AMD_Instinct_MI300X_OAM', 'MI300X'],
  ['Gaudi2', 'G2'],
  ['NVIDIA-B200', 'NVIDIA-B200'],
  ['Tesla T4 / 16GB', 'Tesla-T4-16GB'],
  ['x', 'unknown'],
  [undefined, 'unknown'],
])('B47: the GPU label %p is called %p', (label, name) => {
  expect(acceleratorName(label)).toBe(name)
})
