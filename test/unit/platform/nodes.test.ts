import { expect, test } from '@jest/globals'
import { UserError } from '../../../src/errors.ts'
import { defaultStorageClass, gpuFit, isSimulated, onlyGpuNodes, pickAccelerator } from '../../../src/platform/nodes.ts'
import { type KubeObject, simulatedLabel, stackLabel } from '../../../src/stack/kube.ts'

const product = 'nvidia.com/gpu.product'
const h100 = { key: product, value: 'H100' }

function node(
  name: string,
  labels: Record<string, string> = {},
  gpus = 0,
  spec: Record<string, unknown> = {},
): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    spec,
    status: { allocatable: gpus > 0 ? { 'nvidia.com/gpu': String(gpus) } : {} },
  }
}
function pod(nodeName: string | undefined, gpus: number, phase = 'Running', stack?: string): KubeObject {
  const limits = gpus > 0 ? { 'nvidia.com/gpu': String(gpus) } : {}
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', labels: stack === undefined ? {} : { [stackLabel]: stack } },
    spec: { ...(nodeName === undefined ? {} : { nodeName }), containers: [{ resources: { limits } }, {}] },
    status: { phase },
  }
}
const failureOf = (work: () => unknown) => {
  try {
    work()
  } catch (error) {
    if (error instanceof UserError) return error.failure
    throw error
  }
  throw new Error('did not throw')
}

test.each([product, 'gpu.nvidia.com/class', 'cloud.google.com/gke-accelerator', `${product}.example`])(
  'B17: auto takes the first node label whose key contains a known one: %s',
  key => {
    const nodes = [node('cpu', { 'kubernetes.io/os': 'linux' }), node('gpu', { other: 'x', [key]: 'H100' })]
    expect(pickAccelerator(nodes, 'auto')).toEqual({ key, value: 'H100' })
  },
)

test('B16: auto fails when no node has a known label with a value', () => {
  const failure = failureOf(() => pickAccelerator([node('a', { [product]: '' }), node('b')], 'auto'))
  expect(failure).toMatchObject({ code: 'GPU_SHORTAGE', why: expect.stringContaining('None of 2 nodes') })
})

test('B16: an explicit label must be on a node, and the failure names the values that are', () => {
  const nodes = [node('a', { [product]: 'A100' }), node('b', { [product]: 'H100' })]
  expect(pickAccelerator(nodes, h100)).toEqual(h100)
  const failure = failureOf(() => pickAccelerator(nodes, { key: product, value: 'H200' }))
  expect(failure).toMatchObject({ code: 'GPU_SHORTAGE', why: expect.stringContaining('A100, H100') })
  expect(failureOf(() => pickAccelerator(nodes, { key: 'gpu', value: 'x' })).why).toContain('No node has the label gpu')
})

test('without the right to list nodes an explicit label is believed and auto stays open', () => {
  expect(pickAccelerator(undefined, h100)).toEqual(h100)
  expect(pickAccelerator(undefined, 'auto')).toBeUndefined()
})

test('helper pods have nowhere else to go when every node that takes pods has GPUs', () => {
  const gpu = node('gpu', { [product]: 'H100' })
  const taint = { taints: [{ key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' }] }
  expect(onlyGpuNodes([gpu, node('cpu')], h100)).toBe(false)
  expect(onlyGpuNodes([gpu], h100)).toBe(true)
  expect(onlyGpuNodes([gpu, node('control', {}, 0, taint), node('closed', {}, 0, { unschedulable: true })], h100)).toBe(
    true,
  )
  expect(onlyGpuNodes(undefined, h100)).toBe(false)
  expect(onlyGpuNodes([gpu], undefined)).toBe(false)
})

test('a cluster is simulated when a node says so', () => {
  expect(isSimulated([node('a'), node('b', { [simulatedLabel]: 'true' })])).toBe(true)
  expect(isSimulated([node('a', { [simulatedLabel]: 'false' })])).toBe(false)
  expect(isSimulated(undefined)).toBe(false)
})

const gpuNodes = [
  node('a', { [product]: 'H100' }, 4),
  node('b', { [product]: 'H100' }, 4),
  node('c', { [product]: 'A100' }, 8),
]

test('replicas fit node by node, not by the sum of free GPUs', () => {
  const pods = [pod('a', 3), pod('b', 3)]
  expect(gpuFit(gpuNodes, pods, 1, 2, h100)).toEqual({ ok: true })
  expect(gpuFit(gpuNodes, pods, 2, 1, h100)).toEqual({
    ok: false,
    why: '1 replicas x 2 GPU do not fit now; free: a 1 of 4, b 1 of 4. Waiting for GPUs or a new node.',
  })
})

test('only bound pods that have not ended use GPUs, and those of this stack count as free', () => {
  const idle = [pod('a', 4, 'Succeeded'), pod('b', 4, 'Failed'), pod(undefined, 8, 'Pending')]
  expect(gpuFit(gpuNodes, idle, 4, 2, h100)).toEqual({ ok: true })
  const own = [pod('a', 4, 'Running', 'mine'), pod('b', 4, 'Running', 'mine')]
  expect(gpuFit(gpuNodes, own, 4, 2, h100, 'mine')).toEqual({ ok: true })
  expect(gpuFit(gpuNodes, own, 4, 2, h100)).toMatchObject({ ok: false })
})

test('a cordoned node has no room, and nodes without GPUs are not spoken of', () => {
  const closed = [node('a', { [product]: 'H100' }, 8, { unschedulable: true }), node('cpu')]
  expect(gpuFit(closed, [], 1, 1, undefined)).toMatchObject({
    ok: false,
    why: expect.stringContaining('free: a closed to new pods.'),
  })
  expect(gpuFit([], [], 1, 1, h100)).toMatchObject({
    ok: false,
    why: expect.stringContaining('no node with GPUs matches'),
  })
})

const storageClass = (
  name: string,
  annotations: Record<string, string> = {},
  creationTimestamp = '2026-01-01T00:00:00Z',
): KubeObject => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name, annotations, creationTimestamp },
})
const isDefault = { 'storageclass.kubernetes.io/is-default-class': 'true' }

test('B21: the class that the cluster marks as default is found by its annotation, the newest of several', () => {
  expect(defaultStorageClass([storageClass('a'), storageClass('b', isDefault)], undefined)).toBe('b')
  const two = [storageClass('old', isDefault), storageClass('new', isDefault, '2026-02-01T00:00:00Z')]
  expect(defaultStorageClass(two, undefined)).toBe('new')
  expect(defaultStorageClass([...two].reverse(), undefined)).toBe('new')
})

test('B21: a class that does not exist, or no default, fails naming the classes there are', () => {
  const classes = [storageClass('a'), storageClass('b', { 'storageclass.kubernetes.io/is-default-class': 'false' })]
  expect(defaultStorageClass(classes, 'a')).toBe('a')
  expect(failureOf(() => defaultStorageClass(classes, 'c'))).toMatchObject({
    code: 'PREFLIGHT',
    why: 'The cluster has: a, b.',
  })
  expect(failureOf(() => defaultStorageClass(classes, undefined))).toMatchObject({
    code: 'PREFLIGHT',
    what: expect.stringContaining('no default'),
  })
})

test('without the right to list classes the name is believed, and none leaves the choice to the cluster', () => {
  expect(defaultStorageClass(undefined, 'fast')).toBe('fast')
  expect(defaultStorageClass(undefined, undefined)).toBeUndefined()
})
