import { expect, test } from '@jest/globals'
import { UserError } from '../../../src/errors.ts'
import { inventory, readInventory } from '../../../src/stack/inventory.ts'
import { type KubeObject, stackLabel } from '../../../src/stack/kube.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { hfToken, specWith, standupRun } from './specs.ts'

const spec = specWith({
  placement: { tolerations: [{ key: 'gpu', operator: 'Exists' }], nodeSelector: { pool: 'a' }, queueName: 'q' },
})
const record = inventory(spec, stackObjects(spec), standupRun)
const key = 'inventory.json'
const dataOf = (o: KubeObject) => JSON.parse((o.data as Record<string, string>)[key]!) as Record<string, unknown>
/** The record with some of its data replaced. */
const tampered = (changes: Record<string, unknown>): KubeObject => ({
  ...record,
  data: { [key]: JSON.stringify({ ...dataOf(record), ...changes }) },
})

test('an inventory gives back what run and teardown need, and nothing that is secret', () => {
  const read = readInventory(structuredClone(record))
  expect(read).toMatchObject({
    stack: 'llmdbench-meta-lla-1ebbf38c-a-3-1-8b',
    model: 'meta-llama/Llama-3.1-8B',
    wellLitPath: 'inference-scheduling',
    replicas: 2,
    gpusPerReplica: 1,
    accelerator: { key: 'nvidia.com/gpu.product', value: 'NVIDIA-H100-80GB-HBM3' },
    gateway: 'infra-llmdbench-inference-gateway',
    decode: 'meta-lla-1ebbf38c-a-3-1-8b-decode',
    placement: { tolerations: [{ key: 'gpu', operator: 'Exists' }], nodeSelector: { pool: 'a' }, queueName: 'q' },
    modelSource: { kind: 'pvc' },
    hfSecret: true,
    createdNamespace: false,
    holder: standupRun.holder,
    expiresEpochSeconds: 1_800_000_000,
  })
  expect(JSON.stringify(record)).not.toContain(hfToken)
})

test('an inventory lists every object of its stack by kind, namespace and name', () => {
  const { objects } = readInventory(record)
  expect(objects).toHaveLength(17)
  expect(objects).toContainEqual({ apiVersion: 'v1', kind: 'Secret', namespace: 'llm-d-vezio', name: 'llm-d-hf-token' })
})

test('what changes from run to run is in the annotations of the inventory alone', () => {
  const later = { ...standupRun, run: '99', attempt: 2, commit: 'b'.repeat(40), expiresEpochSeconds: 1_900_000_000 }
  const second = inventory(spec, stackObjects(spec), later)
  expect(second.data).toEqual(record.data)
  expect(second.metadata.annotations).not.toEqual(record.metadata.annotations)
  for (const value of ['1234567890', standupRun.holder, standupRun.commit]) {
    expect(JSON.stringify(stackObjects(spec))).not.toContain(value)
  }
})

test('fields that the schema does not name are dropped', () => {
  expect(readInventory(tampered({ extra: { a: 1 } }))).not.toHaveProperty('extra')
})

test.each<[string, KubeObject, RegExp]>([
  ['has no data', { ...record, data: undefined }, /inventory\.json is missing/],
  ['is not JSON', { ...record, data: { [key]: '{' } }, /not JSON/],
  ['is null', { ...record, data: { [key]: 'null' } }, /object/i],
  ['is of another version', tampered({ version: 2 }), /\/version/],
  ['has a model that is a map', tampered({ model: {} }), /\/model/],
  ['asks for a negative number of replicas', tampered({ replicas: -1 }), /\/replicas/],
  ['names a decode Deployment of a million characters', tampered({ decode: 'x'.repeat(1e6) }), /\/decode/],
  ['speaks of another namespace', tampered({ namespace: 'kube-system' }), /another namespace/],
  ['speaks of another stack than its label', tampered({ stack: 'other' }), /differs from its label/],
  [
    'has lost its label',
    { ...record, metadata: { ...record.metadata, labels: { [stackLabel]: '' } } },
    /differs from its label/,
  ],
])('an inventory that %s is refused with PREFLIGHT', (_what, object, why) => {
  const read = () => readInventory(object)
  expect(read).toThrow(UserError)
  try {
    read()
  } catch (error) {
    const { failure } = error as UserError
    expect(failure.code).toBe('PREFLIGHT')
    expect(failure.why).toMatch(why)
    expect(failure.why.length).toBeLessThan(400)
    expect(failure.next).toContain('teardown')
  }
})

test('an expiry that is not a number counts as passed', () => {
  const object = structuredClone(record)
  object.metadata.annotations = { 'llm-d.ai/bench-expires': 'never' }
  expect(readInventory(object)).toMatchObject({ expiresEpochSeconds: 0, holder: '' })
})
