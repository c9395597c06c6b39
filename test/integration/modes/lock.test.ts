import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { asFailure } from '../../../src/errors.ts'
import { dropLocks, keepLocks, namespaceLease, resumeLocks, takeLocks } from '../../../src/modes/lock.ts'
import { inventory } from '../../../src/stack/inventory.ts'
import { emptyRecord, type LeaseRecord, leaseObject, readRecord } from '../../../src/stack/lease-record.ts'
import { lockedStack, locksOf } from '../../../src/stack/locks.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { standupRun } from '../../unit/stack/specs.ts'
import { controllerNamespace, decode, namespace, ScaledStack, spec } from './scaled-stack.ts'

let stack: ScaledStack
beforeEach(async () => {
  stack = await ScaledStack.start()
})
afterEach(() => stack.close())

const session = (holder: string) => ({ holder, log: stack.log, signal: stack.stop.signal })
const options = { wait: false, timeoutMs: undefined, plannedEnd: Math.ceil(Date.now() / 1000) + 600 }
const elsewhere = { ...spec, namespace: 'elsewhere' }
const [ofNamespace, ofModel] = locksOf(spec)
const leases = 'leases.coordination.k8s.io'
const live = (ref = ofNamespace!) => stack.server.store.get(leases, ref.namespace, ref.name)
/** A Lease as a holder left it. */
const leave = (ref: typeof ofNamespace, holder: string, change: Partial<LeaseRecord> = {}) =>
  stack.server.store.create(
    leaseObject(
      {
        ...{ ...emptyRecord, holder, stack: lockedStack(spec), durationSeconds: 60 },
        ...{ acquiredMs: Date.now(), renewedMs: Date.now() },
        ...change,
      },
      ref!,
    ),
  )
const dead = { acquiredMs: Date.now() - 900_000, renewedMs: Date.now() - 600_000, running: true }
const deployment = () => stack.server.store.get('deployments.apps', namespace, decode)

describe('taking the Leases of a stack', () => {
  test('takes that of the namespace first, and gives it back when the other is not free', async () => {
    leave(ofModel, 'them', { running: true })
    const from = stack.asked
    const failed = await takeLocks(stack.api, spec, session('me'), options).catch(asFailure)
    expect(failed).toMatchObject({ code: 'LOCKED', what: expect.stringContaining('them') })
    expect(stack.server.requests().slice(from)[0]?.path).toContain(`/${namespace}/leases`)
    expect(live()).toBeUndefined()
    expect(readRecord(live(ofModel)!).holder).toBe('them')
  })

  test('keeps that of the namespace where a stack of its own stands, when the other is not free', async () => {
    stack.server.store.create(inventory(spec, stackObjects(spec), { ...standupRun, holder: 'me' }))
    leave(ofModel, 'them', { running: true })
    await takeLocks(stack.api, spec, session('me'), options).catch(asFailure)
    expect(readRecord(live()!)).toMatchObject({ holder: 'me', running: false, durationSeconds: 900 })
  })

  test('keeps both, goes on with both in the next step, and leaves none when they are released', async () => {
    const first = await takeLocks(stack.api, spec, session('me'), options)
    await keepLocks(first, 900, stack.log)
    for (const ref of [ofNamespace!, ofModel!])
      expect(readRecord(live(ref)!)).toMatchObject({ holder: 'me', running: false, durationSeconds: 900 })
    const next = await resumeLocks(stack.api, spec, session('me'))
    expect(readRecord(live()!).running).toBe(true)
    await next.release()
    expect([live(), live(ofModel)]).toEqual([undefined, undefined])
  })

  test('removes the stack that a dead holder left first', async () => {
    leave(ofNamespace, 'dead', dead)
    expect(deployment()).toBeDefined()
    const locks = await takeLocks(stack.api, spec, session('me'), options)
    expect(deployment()).toBeUndefined()
    await locks.release()
  })

  test('does not remove a stack that somebody else holds by now: the Lease of its namespace is live', async () => {
    stack.server.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } })
    leave(ofModel, 'dead', dead)
    leave(ofNamespace, 'them', { running: true })
    const locks = await takeLocks(stack.api, elsewhere, session('me'), options)
    expect(deployment()).toBeDefined()
    expect(stack.lines.join('\n')).toContain(`${namespace} belongs to them by now`)
    expect(readRecord(live(ofModel)!)).toMatchObject({ holder: 'me', toClear: [] })
    await locks.release()
  })

  test('removes the stack of a dead holder in another namespace', async () => {
    stack.server.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } })
    leave(ofModel, 'dead', dead)
    leave(ofNamespace, 'dead', dead)
    const locks = await takeLocks(stack.api, elsewhere, session('me'), options)
    expect(deployment()).toBeUndefined()
    await locks.release()
  })

  test('removes nothing for a Lease that names no stack', async () => {
    leave(ofNamespace, 'dead', { ...dead, stack: `${namespace}/x,llm-d.ai/role!=y` })
    const locks = await takeLocks(stack.api, spec, session('me'), options)
    expect(deployment()).toBeDefined()
    expect(stack.lines.join('\n')).toContain('which is no stack')
    await locks.release()
  })
})

describe('dropping the Leases of a stack that is gone', () => {
  const drop = (...holders: string[]) =>
    dropLocks(stack.api, spec, { holders, signal: stack.stop.signal, log: stack.log })

  test('deletes its own and spares those of others', async () => {
    leave(ofNamespace, 'me')
    leave(ofModel, 'them')
    await drop('me')
    expect(live()).toBeUndefined()
    expect(live(ofModel)).toBeDefined()
  })

  test('spares one that somebody has taken between the look and the delete', async () => {
    leave(ofNamespace, 'me')
    stack.server.faults.add({
      match: r => {
        if (r.method === 'DELETE' && r.path.endsWith(ofNamespace!.name))
          stack.server.store.modify(leases, namespace, ofNamespace!.name, draft => {
            Object.assign(draft.spec as object, { holderIdentity: 'them' })
          })
        return false
      },
    })
    await drop('me')
    expect(live()).toBeDefined()
  })

  test('deletes also one in which a waiter has queued meanwhile', async () => {
    leave(ofNamespace, 'me')
    let once = true
    stack.server.faults.add({
      match: r => {
        if (once && r.method === 'DELETE' && r.path.endsWith(ofNamespace!.name))
          stack.server.store.modify(leases, namespace, ofNamespace!.name, draft => {
            once = false
            draft.metadata.annotations = { ...draft.metadata.annotations, note: 'x' }
          })
        return false
      },
    })
    await drop('me')
    expect(live()).toBeUndefined()
  })

  test('says which stays when it may not be deleted, and goes on', async () => {
    leave(ofNamespace, 'me')
    leave(ofModel, 'me')
    stack.server.faults.add({ match: r => r.method === 'DELETE' && r.path.includes(controllerNamespace), status: 403 })
    await drop('me')
    expect(live()).toBeUndefined()
    expect(stack.lines.join('\n')).toContain(`Lease ${controllerNamespace}/${ofModel!.name} stays until it runs out`)
  })
})

test('the Lease of a namespace is unknown where there is none, or where it may not be read', async () => {
  const look = () => namespaceLease(stack.api, namespace, stack.stop.signal)
  expect(await look()).toBeUndefined()
  leave(ofNamespace, 'them', { running: true })
  expect(await look()).toMatchObject({ holder: 'them', active: true })
  stack.server.faults.add({ match: r => r.path.includes('/leases/'), status: 403 })
  expect(await look()).toBeUndefined()
})
