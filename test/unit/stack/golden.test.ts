import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { parseAllDocuments, stringify } from 'yaml'
import type { StackSpec } from '../../../src/stack/spec.ts'
import { redact } from '../../../src/stack/stack.ts'
import { hfToken, planOf, specWith } from './specs.ts'

const mirror = 'registry.example.com/mirror/llm-d'
const configurations: Record<string, StackSpec> = {
  'stack-default': specWith(),
  'stack-ungated': specWith({ model: 'Qwen/Qwen3-0.6B', hfToken: undefined }, { gated: false }),
  'stack-claim': specWith({ modelSource: { kind: 'claim', claim: 'shared-weights', path: 'llama/3.1-8b' } }),
  'stack-hf': specWith({ modelSource: { kind: 'hf' }, hfEndpoint: 'https://hub.example.com' }),
  'stack-placed': specWith({
    placement: {
      tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
      nodeSelector: { pool: 'benchmarks' },
      priorityClass: 'benchmark',
      queueName: 'gpu-queue',
      imagePullSecret: 'mirror-login',
    },
  }),
  'stack-mirror': specWith({
    images: {
      vllm: `${mirror}/llm-d-cuda:v0.4.0`,
      scheduler: `${mirror}/llm-d-inference-scheduler:v0.4.0`,
      sidecar: `${mirror}/llm-d-routing-sidecar:v0.4.0`,
      harness: `${mirror}/llm-d-benchmark:v0.4.0`,
    },
  }),
  'stack-wva': specWith({ wva: true, serviceMonitorLabels: { release: 'kube-prometheus-stack' } }),
  'stack-openshift-two-namespaces': specWith(
    { namespace: { model: 'llm-d-vezio', harness: 'llm-d-harness' } },
    { openShift: true },
  ),
}

test.each(Object.entries(configurations))('the objects of %s are those of its golden file', (name, spec) => {
  const file = path.join(import.meta.dirname, '..', '..', 'golden', `${name}.yaml`)
  const text = redact(planOf(spec))
    .map(o => stringify(o, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n')
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text)
  expect(text).toBe(readFileSync(file, 'utf8'))
  expect(text).not.toContain(hfToken)
  expect(text).not.toContain(Buffer.from(hfToken).toString('base64'))
})

test('a golden file reads back as the very objects that are applied', () => {
  const spec = specWith()
  const file = path.join(import.meta.dirname, '..', '..', 'golden', 'stack-default.yaml')
  const read = parseAllDocuments(readFileSync(file, 'utf8')).map(d => d.toJS())
  expect(read).toEqual(redact(planOf(spec)))
})
