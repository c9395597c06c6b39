import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { UserError } from '../../../src/errors.ts'
import { settingsOf } from '../../../src/paths/build.ts'
import { wellLitPaths } from '../../../src/paths/index.ts'
import { specWith } from '../stack/specs.ts'

test('a spec is made of the inputs, the facts and the settings of its path', () => {
  expect(specWith()).toMatchObject({
    wellLitPath: 'inference-scheduling',
    namespace: 'llm-d-vezio',
    harnessNamespace: 'llm-d-vezio',
    label: 'meta-lla-1ebbf38c-a-3-1-8b',
    stack: 'llmdbench-meta-lla-1ebbf38c-a-3-1-8b',
    replicas: 2,
    gpusPerReplica: 1,
    accelerator: { key: 'nvidia.com/gpu.product', value: 'NVIDIA-H100-80GB-HBM3' },
    source: { kind: 'pvc' },
    storage: { className: 'ocs-storagecluster-cephfs', accessMode: 'ReadWriteMany', size: '1Ti' },
    gated: true,
    downloadTimeoutSeconds: 2400,
    settings: wellLitPaths['inference-scheduling'],
    settingsHash: expect.stringMatching(/^[0-9a-f]{12}$/),
  })
  expect(specWith({ overrides: { tensorParallel: 4 } }).gpusPerReplica).toBe(4)
})

test('what preflight could not see is left out of the spec, not set to undefined', () => {
  const spec = specWith({ hfToken: undefined }, { accelerator: undefined, storageClass: undefined, openShift: false })
  for (const key of ['accelerator', 'hfToken', 'hfEndpoint', 'openShift', 'gpuNodesOnly'])
    expect(spec).not.toHaveProperty(key)
  expect(spec.storage).not.toHaveProperty('className')
})

test('the hash of the settings follows their values and not the order of their keys', () => {
  const hash = (overrides: Record<string, unknown>) => specWith({ overrides }).settingsHash
  expect(hash({ env: { A: '1', B: '2' } })).toBe(hash({ env: { B: '2', A: '1' } }))
  expect(hash({})).toBe(hash({ maxModelLen: 16000 }))
  expect(hash({ maxModelLen: 8000 })).not.toBe(hash({}))
  expect(hash({ startupProbe: { periodSeconds: 30 } })).not.toBe(hash({}))
})

test.each(['inference-schedulng', 'constructor', ''])(
  'the path %p does not exist, and the message names those that do',
  name => {
    expect(() => settingsOf({ wellLitPath: name, overrides: {} })).toThrow(UserError)
    try {
      settingsOf({ wellLitPath: name, overrides: {} })
    } catch (error) {
      const { failure } = error as UserError
      expect(failure.code).toBe('INPUT')
      expect(failure.next).toContain('inference-scheduling')
    }
  },
)

test('B3: the path inference-scheduling has the values of its scenario', () => {
  expect(wellLitPaths['inference-scheduling']).toMatchObject({
    maxModelLen: 16000,
    blockSize: 64,
    gpuMemoryUtilization: 0.95,
    tensorParallel: 1,
    cpu: '16',
    memory: '64Gi',
    shm: '16Gi',
    gateway: { className: 'istio', serviceType: 'NodePort' },
    harness: { cpu: '16', memory: '32Gi' },
  })
})

test('the start-up probe allows as long a start as the 30 s delay and 60 periods of 30 s, within a minute', () => {
  const { initialDelaySeconds, periodSeconds, failureThreshold } = wellLitPaths['inference-scheduling']!.startupProbe
  const allowed = initialDelaySeconds + periodSeconds * failureThreshold
  expect(Math.abs(allowed - (30 + 30 * 60))).toBeLessThanOrEqual(60)
})

test('the plugins of the endpoint picker are YAML that weighs queue 2, KV cache 2 and prefix cache 3', () => {
  const { plugins } = wellLitPaths['inference-scheduling']!.scheduler
  const config = parse(plugins) as { schedulingProfiles: { plugins: { pluginRef: string; weight: number }[] }[] }
  expect(config.schedulingProfiles[0]?.plugins).toEqual([
    { pluginRef: 'queue-scorer', weight: 2 },
    { pluginRef: 'kv-cache-utilization-scorer', weight: 2 },
    { pluginRef: 'prefix-cache-scorer', weight: 3 },
  ])
})
