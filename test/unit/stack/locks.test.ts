import { expect, test } from '@jest/globals'
import { locksOf, mayTearDown } from '../../../src/stack/locks.ts'

const lease = { holder: 'org/repo/1/wva', expired: false, active: false }
const job = { holder: 'org/repo/2/wva', byHand: false, force: false }

test('a job tears down what is its own, what nobody holds and what has run out, and nothing else', () => {
  expect(mayTearDown(undefined, job)).toEqual({ ok: true })
  expect(mayTearDown({ ...lease, expired: true }, job)).toEqual({ ok: true })
  expect(mayTearDown(lease, { ...job, holder: lease.holder })).toEqual({ ok: true })
  expect(mayTearDown(lease, job)).toEqual({ ok: false, holder: lease.holder, active: false })
  expect(mayTearDown({ ...lease, active: true }, { ...job, force: true })).toEqual({ ok: true })
})

test('a person at a terminal tears down any stack, but for one that a step works on at this moment', () => {
  const person = { ...job, byHand: true }
  expect(mayTearDown(lease, person)).toEqual({ ok: true })
  expect(mayTearDown({ ...lease, active: true }, person)).toMatchObject({ ok: false, active: true })
})

test('a leg under WVA has a second Lease, one per model, which another namespace with that model needs as well', () => {
  const of = (namespace: string, model: string) =>
    locksOf({ namespace, stack: 's', model, autoscaling: { controllerNamespace: 'wva' } }).map(
      l => `${l.namespace}/${l.name}`,
    )
  const [own, shared] = of('bench-a', 'org/model')
  expect(own).toBe('bench-a/llm-d-bench')
  expect(of('bench-b', 'org/model')).toEqual(['bench-b/llm-d-bench', shared])
  expect(of('bench-a', 'org/other')[1]).not.toBe(shared)
  expect(locksOf({ namespace: 'bench-a', stack: 's', model: 'org/model' })).toHaveLength(1)
})
