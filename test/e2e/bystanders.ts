import { expect } from '@jest/globals'
import type { KubeObject } from '../../src/stack/kube.ts'
import { leftovers, namespace, type World } from './world.ts'
import { foreignLease, wvaNamespace } from './wva-world.ts'

const somebodyElses: readonly KubeObject[] = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'somebody-elses', namespace }, data: { a: '1' } },
  {
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
    metadata: { name: foreignLease, namespace: wvaNamespace, labels: { 'llm-d.ai/bench-stack': 'x' } },
    spec: { holderIdentity: 'somebody/else/1/wva', leaseDurationSeconds: 60, renewTime: '2026-01-01T00:00:00.000000Z' },
  },
]

/**
 * Puts objects of others into both namespaces of a WVA leg. @returns what expects that nothing of ours is left, Leases
 * included, and that nothing which is there now has changed, the platform included.
 */
export async function addBystanders(world: World): Promise<() => void> {
  const { sandbox, names } = world
  const { store } = sandbox.api
  store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  for (const object of somebodyElses) store.create(object)
  await sandbox.until('the namespace is complete', () => names('serviceaccounts').includes('default'))
  const before = sandbox.snapshot()
  const written = identities(world)
  return () => {
    expect(leftovers(before, sandbox.snapshot())).toEqual([])
    const now = identities(world)
    expect(written.filter(line => !now.includes(line))).toEqual([])
  }
}

/**
 * Every object with its uid and what was written into it, one line each. Events come and go, and the controller renews its
 * own Lease.
 */
function identities(world: World): string[] {
  const { store } = world.sandbox.api
  const objects = store.registry.all().flatMap(kind => store.peekAll(kind.id))
  return objects
    .filter(o => o.kind !== 'Event')
    .map(o => {
      const { uid, name, namespace: of = '', generation, labels, annotations } = o.metadata
      const renewed = o.kind === 'Lease' && !name.startsWith('llm-d-bench')
      const text = JSON.stringify([generation, labels, annotations, o.data, o.kind === 'Lease' && !renewed && o.spec])
      return `${o.kind} ${of}/${name} ${uid} ${text}`
    })
}
