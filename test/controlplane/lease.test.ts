import { afterAll, expect, test } from '@jest/globals'
import { pause } from '../../src/cluster/api.ts'
import { acquireLease, type LeaseOptions, type LeaseRef, readLease, resumeLease } from '../../src/cluster/lease.ts'
import { create, get, remove, replace } from '../../src/cluster/objects.ts'
import { asFailure } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { emptyRecord, leaseObject, readRecord } from '../../src/stack/lease-record.ts'
import { freshNamespace, open, raw, ring } from './ring.ts'

const api = open()
afterAll(() => api.close())

const timing = { ticketMs: 3000, refreshMs: 1000, stepBackMs: 400, marginMs: 1200 }
const never = () => Promise.reject(new Error('nothing was to be taken over'))
const options = (holder: string, more: Partial<LeaseOptions> = {}): LeaseOptions => ({
  ...{ holder, stack: `ns/stack-of-${holder}`, durationSeconds: 2, renewEveryMs: 300, wait: true, timeoutMs: 20_000 },
  ...{ onTakeover: never, timing, signal: AbortSignal.timeout(30_000), log: silentLog },
  ...more,
})
let count = 0
const fresh = async (): Promise<LeaseRef> => ({
  ...{ namespace: await freshNamespace(api), name: `lock-${++count}`, labels: { 'llm-d.ai/bench-stack': 's' } },
})
const live = (ref: LeaseRef) => get(api, 'Lease', ref.namespace, ref.name)
const record = async (ref: LeaseRef) => readRecord((await live(ref))!)
const pathOf = (ref: LeaseRef) => `/apis/coordination.k8s.io/v1/namespaces/${ref.namespace}/leases/${ref.name}`

test('a lease is acquired, renewed past its duration, kept, resumed and released', async () => {
  const ref = await fresh()
  const held = await acquireLease(api, ref, options('a', { plannedEnd: 1_900_000_000 }))
  const first = await record(ref)
  expect(first).toMatchObject({ holder: 'a', stack: 'ns/stack-of-a', plannedEnd: 1_900_000_000, running: true })
  await pause(2500)
  expect(held.lost.aborted).toBe(false)
  expect((await record(ref)).renewedMs!).toBeGreaterThan(first.renewedMs! + 1500)
  await held.keep(900)
  expect(await readLease(api, ref, { timing })).toMatchObject({ holder: 'a', active: false, expired: false })
  const again = await resumeLease(api, ref, options('a'))
  expect(await record(ref)).toMatchObject({ running: true, durationSeconds: 2 })
  expect(await again.release()).toBe(true)
  expect(await live(ref)).toBeUndefined()
})

test('of twelve who want a lease at once each gets it, one after the other, and who does not wait is told the holder', async () => {
  const ref = await fresh()
  const first = await acquireLease(api, ref, options('first', { durationSeconds: 10 }))
  const refused = asFailure(await acquireLease(api, ref, options('hasty', { wait: false })).catch(e => e))
  expect(refused).toMatchObject({ code: 'LOCKED', what: expect.stringContaining('held by first') })
  let owners = 0
  let served = 0
  const contend = async (holder: string) => {
    const client = open()
    const held = await acquireLease(client, ref, options(holder, { durationSeconds: 10, timeoutMs: 60_000 }))
    expect(++owners).toBe(1)
    await pause(30)
    owners--
    served++
    expect(await held.release()).toBe(true)
    await client.close()
  }
  const all = Array.from({ length: 12 }, (_, i) => contend(`c${i}`))
  await pause(300)
  expect(served).toBe(0)
  await first.release()
  await Promise.all(all)
  expect(served).toBe(12)
})

test('a lease whose holder died is taken over when it has run out, and its stack is cleared first', async () => {
  const ref = await fresh()
  const dead = await acquireLease(api, ref, options('dead'))
  dead.close()
  const { renewedMs } = await record(ref)
  const cleared: unknown[] = []
  const held = await acquireLease(api, ref, options('heir', { onTakeover: async p => void cleared.push(p) }))
  expect(cleared).toEqual([{ holder: 'dead', stack: 'ns/stack-of-dead' }])
  const now = await record(ref)
  expect(now).toMatchObject({ holder: 'heir', stack: 'ns/stack-of-heir', transitions: 2 })
  expect(now.acquiredMs!).toBeGreaterThan(renewedMs! + 2000)
  await held.release()
})

test('a runner whose clock is an hour off goes by the clock of the server', async () => {
  const ref = await fresh()
  const late = open({ clock: () => Date.now() + 3_600_000 })
  const held = await acquireLease(api, ref, options('a'))
  const refused = asFailure(await acquireLease(late, ref, options('b', { wait: false })).catch(e => e))
  expect(refused.code).toBe('LOCKED')
  expect(await readLease(late, ref, { timing })).toMatchObject({ holder: 'a', expired: false })
  await held.release()
  await late.close()
})

test('a lease that was deleted is not brought back by who still thinks that it is theirs', async () => {
  const ref = await fresh()
  const made = await create(api, leaseObject({ ...emptyRecord, holder: 'a', renewedMs: Date.now() }, ref))
  await remove(api, made)
  await expect(replace(api, made)).rejects.toMatchObject({ status: 409 })
  expect(await live(ref)).toBeUndefined()
  // Without the uid the server would make it anew: what `replace` guards against.
  const { uid: _, resourceVersion: __, creationTimestamp: ___, managedFields: ____, ...metadata } = made.metadata
  expect((await raw(ring, 'PUT', pathOf(ref), { body: { ...made, metadata } })).status).toBe(201)
})
