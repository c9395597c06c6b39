import { expect, test } from '@jest/globals'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { podGpus, toWatchEvent } from '../../../src/timeline/record.ts'

const pod = (patch: Partial<KubeObject> = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'x-decode-1', labels: { 'llm-d.ai/role': 'decode' } },
  spec: {
    nodeName: 'n1',
    containers: [{ resources: { limits: { 'nvidia.com/gpu': '2' }, requests: { 'nvidia.com/gpu': '2' } } }],
  },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  ...patch,
})

test('the Deployment gives desired, present and ready replicas at the receipt time', () => {
  const object: KubeObject = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'x-decode' },
    spec: { replicas: 3 },
    status: { replicas: 2, readyReplicas: 1 },
  }
  expect(toWatchEvent({ type: 'MODIFIED', object, at: 5 }, 'x-decode')).toEqual({
    at: 5,
    kind: 'Deployment',
    type: 'MODIFIED',
    name: 'x-decode',
    desired: 3,
    replicas: 2,
    ready: 1,
  })
  expect(toWatchEvent({ type: 'MODIFIED', object, at: 5 }, 'another')).toBeUndefined()
})

test('a bound pod carries its node and its GPUs, counted once although they stand in requests and limits', () => {
  expect(toWatchEvent({ type: 'ADDED', object: pod(), at: 7 }, 'x-decode')).toEqual({
    at: 7,
    kind: 'Pod',
    type: 'ADDED',
    name: 'x-decode-1',
    phase: 'Running',
    ready: true,
    gpus: 2,
    deleting: false,
    nodeName: 'n1',
  })
})

test('a pending pod has no node, a deleted one says so, other roles are left out', () => {
  const pending = toWatchEvent(
    { type: 'ADDED', object: pod({ spec: { containers: [] }, status: { phase: 'Pending' } }), at: 1 },
    'x-decode',
  )
  expect(pending).toMatchObject({ ready: false, gpus: 0, phase: 'Pending' })
  expect(pending).not.toHaveProperty('nodeName')
  const going = pod()
  going.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
  expect(toWatchEvent({ type: 'MODIFIED', object: going, at: 1 }, 'x-decode')).toMatchObject({ deleting: true })
  expect(
    toWatchEvent({ type: 'ADDED', object: pod({ metadata: { name: 'epp', labels: {} } }), at: 1 }, 'x-decode'),
  ).toBeUndefined()
})

test('GPUs of any vendor count, other resources do not', () => {
  expect(podGpus([{ resources: { limits: { 'amd.com/gpu': '4', cpu: '16', memory: '64Gi' } } }, {}])).toBe(4)
})
