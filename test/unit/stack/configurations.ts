import type { StackSpec } from '../../../src/stack/spec.ts'
import { specWith } from './specs.ts'

const mirror = 'registry.example.com/mirror/llm-d'
/** Every kind of stack that there is, by the name of its golden file. */
export const configurations = (namespace = 'llm-d-vezio', harness = 'llm-d-harness'): Record<string, StackSpec> => {
  const model = { namespace: { model: namespace, harness: namespace } }
  return {
    'stack-default': specWith(model),
    'stack-ungated': specWith({ ...model, model: 'Qwen/Qwen3-0.6B', hfToken: undefined }, { gated: false }),
    'stack-claim': specWith({
      ...model,
      modelSource: { kind: 'claim', claim: 'shared-weights', path: 'llama/3.1-8b' },
    }),
    'stack-hf': specWith({ ...model, modelSource: { kind: 'hf' }, hfEndpoint: 'https://hub.example.com' }),
    'stack-placed': specWith({
      ...model,
      placement: {
        tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
        nodeSelector: { pool: 'benchmarks' },
        priorityClass: 'benchmark',
        queueName: 'gpu-queue',
        imagePullSecret: 'mirror-login',
      },
    }),
    'stack-mirror': specWith({
      ...model,
      images: {
        vllm: `${mirror}/llm-d-cuda:v0.4.0`,
        scheduler: `${mirror}/llm-d-inference-scheduler:v0.4.0`,
        sidecar: `${mirror}/llm-d-routing-sidecar:v0.4.0`,
        harness: `${mirror}/llm-d-benchmark:v0.4.0`,
      },
    }),
    'stack-wva': specWith({ ...model, wva: true, serviceMonitorLabels: { release: 'kube-prometheus-stack' } }),
    'stack-openshift-two-namespaces': specWith({ namespace: { model: namespace, harness } }, { openShift: true }),
  }
}
