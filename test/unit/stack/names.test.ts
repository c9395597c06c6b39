import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { modelLabel, names, stackName } from '../../../src/stack/names.ts'

test.each([
  ['llm-d-test-exp', 'Qwen/Qwen3-0.6B', 'qwen-qwe-b5a60221-en3-0-6b'],
  ['llm-d-vezio', 'Qwen/Qwen3-0.6B', 'qwen-qwe-49fe64b3-en3-0-6b'],
  ['llm-d-vezio', 'meta-llama/Llama-3.1-8B', 'meta-lla-1ebbf38c-a-3-1-8b'],
  ['llm-d-vezio', 'meta-llama/Llama-3.1-8B-Instruct', 'meta-lla-dd8c49eb-instruct'],
])('B4: in namespace %s the model %s has the label %s', (namespace, model, label) => {
  expect(modelLabel(namespace, model)).toBe(label)
})

test('a model id that starts with a digit or holds other characters still gives names that a Service may have', () => {
  expect(modelLabel('ns', '01-ai/Yi-1.5-34B_Chat')).toMatch(/^m01-ai-yi-[0-9a-f]{8}-34b-chat$/)
  const part = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$/)
  fc.assert(
    fc.property(part, part, part, (namespace, org, model) => {
      const label = modelLabel(namespace, `${org}/${model}`)
      const made = names({ release: 'llmdbench', label })
      for (const name of [label, made.scheduler, made.decode]) expect(name).toMatch(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])$/)
    }),
  )
})

test('every name of a stack follows from its release and label', () => {
  const label = 'meta-lla-1ebbf38c-a-3-1-8b'
  expect(stackName('llmdbench', label)).toBe('llmdbench-meta-lla-1ebbf38c-a-3-1-8b')
  expect(names({ release: 'llmdbench', label })).toEqual({
    gateway: 'infra-llmdbench-inference-gateway',
    pool: 'meta-lla-1ebbf38c-a-3-1-8b-gaie',
    scheduler: 'meta-lla-1ebbf38c-a-3-1-8b-gaie-epp',
    decode: 'meta-lla-1ebbf38c-a-3-1-8b-decode',
    route: label,
    serviceAccount: label,
    downloadJob: 'download-model',
    modelClaim: 'model-pvc',
    tokenSecret: 'llm-d-hf-token',
    preprocesses: 'llm-d-benchmark-preprocesses',
    vllm: 'meta-lla-1ebbf38c-a-3-1-8b-vllm',
  })
})
