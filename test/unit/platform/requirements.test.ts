import { expect, test } from '@jest/globals'
import {
  groupVersionsOf,
  isOpenShift,
  missing,
  platformFailure,
  requirements,
  requirementsOf,
} from '../../../src/platform/requirements.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { specWith } from '../stack/specs.ts'

const served = [
  { group: 'gateway.networking.k8s.io', version: 'v1', kinds: ['GatewayClass', 'Gateway', 'HTTPRoute'] },
  { group: 'inference.networking.k8s.io', version: 'v1', kinds: ['InferencePool'] },
  { group: 'inference.networking.x-k8s.io', version: 'v1alpha2', kinds: ['InferenceObjective', 'InferencePool'] },
  { group: 'networking.istio.io', version: 'v1beta1', kinds: ['DestinationRule'] },
]
const gatewayClass = (name: string): KubeObject => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'GatewayClass',
  metadata: { name },
})
const istio = [gatewayClass('istio')]

test('a cluster that has everything lacks nothing', () => {
  expect(missing(served, istio, 'istio')).toEqual([])
})

test.each(served)('a cluster without $group/$version lacks the requirement that serves it', ({ group, version }) => {
  const lacking = missing(
    served.filter(s => s.group !== group),
    istio,
    'istio',
  )
  expect(lacking).toHaveLength(1)
  expect(lacking[0]?.what).toContain(`(${group}/${version})`)
})

test('the legacy group alone does not make up for InferencePool v1', () => {
  const legacy = served.filter(s => s.group !== 'inference.networking.k8s.io')
  expect(missing(legacy, istio, 'istio').map(m => m.requirement.id)).toEqual(['inference-extension'])
})

test('another version of a group, or a group without the kind, is not enough', () => {
  const old = served.map(s => (s.group === 'gateway.networking.k8s.io' ? { ...s, version: 'v1beta1' } : s))
  expect(missing(old, istio, 'istio').map(m => m.requirement.id)).toEqual(['gateway-api'])
  const partial = served.map(s => ({ ...s, kinds: s.kinds.filter(k => k !== 'HTTPRoute') }))
  expect(missing(partial, istio, 'istio')[0]?.what).toBe('HTTPRoute (gateway.networking.k8s.io/v1)')
})

test('the GatewayClass must exist, and is not judged where it may not be listed', () => {
  expect(missing(served, [gatewayClass('other')], 'istio').map(m => m.what)).toEqual(['GatewayClass istio'])
  expect(missing(served, undefined, 'istio')).toEqual([])
})

test('one PLATFORM failure names every missing item and the command that installs it, in order', () => {
  const { failure } = platformFailure(missing([], [], 'istio'))
  expect(failure.code).toBe('PLATFORM')
  for (const { name } of requirementsOf(false)) expect(failure.what).toContain(name)
  expect(failure.evidence.map(line => line.split(' ')[0])).toEqual(['kubectl', 'kubectl', 'helm', 'helm'])
  const commands = failure.evidence.join('\n')
  expect(commands).toContain('gateway-api/config/crd/?ref=v1.3.0')
  expect(commands).toContain('gateway-api-inference-extension/config/crd/?ref=v1.2.0')
  expect(commands).toContain('--version 1.28.1')
  expect(commands).toContain('--set-string pilot.env.ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true')
})

test('every custom kind of the stack is one that the requirements look for', () => {
  const custom = stackObjects(specWith()).filter(o =>
    o.apiVersion.split('/')[0]?.match(/networking\.(k8s|istio|x-k8s)\.io/),
  )
  expect(custom).toHaveLength(4)
  for (const { apiVersion, kind } of custom) {
    const entry = requirements.flatMap(r => r.serves).find(s => s.groupVersion === apiVersion)
    expect({ apiVersion, kinds: entry?.kinds }).toEqual({ apiVersion, kinds: expect.arrayContaining([kind]) })
    expect(groupVersionsOf(false)).toContain(apiVersion)
  }
})

test('OpenShift is told by its Route API', () => {
  expect(isOpenShift(['apps', 'route.openshift.io'])).toBe(true)
  expect(isOpenShift(['apps', 'config.openshift.io.example.com'])).toBe(false)
})
