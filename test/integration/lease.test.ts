import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { Api, pause } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { acquireLease, type LeaseOptions, type LeaseRef, readLease, resumeLease } from '../../src/cluster/lease.ts'
import { asFailure } from '../../src/errors.ts'
import { type Log, silentLog } from '../../src/log.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { leaseObject, readRecord } from '../../src/stack/lease-record.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'

let server: ApiServer
let api: Api
let lines: string[] = []
const log: Log = { ...silentLog, info: line => void lines.push(line), warning: line => void lines.push(line) }
const open = (options: { token?: string; clock?: () => number } = {}) => {
  const { token, ...rest } = options
  const yaml = server.kubeconfig(token === undefined ? {} : { token })
  return new Api(loadKubeconfig({ kind: 'content', yaml }, undefined, {}), log, { firstDelayMs: 20, ...rest })
}

beforeAll(async () => {
  server = await startApiServer({ bookmarkMs: 200 })
  api = open()
}, 30_000)
afterEach(() => {
  server.faults.clear()
  lines = []
})
afterAll(async () => {
  await api.close()
  await server.close()
})

let count = 0
/** A Lease of its own for every test. */
const fresh = (): LeaseRef => ({
  namespace: 'default',
  name: `lock-${++count}`,
  labels: { 'llm-d.ai/bench-stack': 's' },
})
const timing = { ticketMs: 3000, refreshMs: 1000, stepBackMs: 400, marginMs: 1200 }
const never = () => Promise.reject(new Error('nothing was to be taken over'))
const options = (holder: string, more: Partial<LeaseOptions> = {}): LeaseOptions => ({
  holder,
  stack: `ns/stack-of-${holder}`,
  durationSeconds: 2,
  renewEveryMs: 300,
  wait: true,
  timeoutMs: 20_000,
  onTakeover: never,
  timing,
  signal: AbortSignal.timeout(30_000),
  log,
  ...more,
})
const live = (ref: LeaseRef) => server.store.get('leases.coordination.k8s.io', ref.namespace, ref.name)
const record = (ref: LeaseRef) => readRecord(live(ref)!)
const until = async (check: () => boolean, ms = 10_000) => {
  for (let i = 0; i < ms / 25 && !check(); i++) await pause(25)
  expect(check()).toBe(true)
}
const failure = (thrown: unknown) => asFailure(thrown)
const requestsOf = (ref: LeaseRef) =>
  server.requests().filter(r => JSON.stringify([r.path, r.query, r.body]).includes(`${ref.name}`))
/** A Lease as somebody else left it; by default it ran out a minute ago. */
const leave = (ref: LeaseRef, change: Partial<ReturnType<typeof readRecord>> = {}) =>
  server.store.create(
    leaseObject(
      {
        ...{
          holder: 'dead',
          stack: 'ns/dead-stack',
          toClear: [],
          plannedEnd: undefined,
          running: true,
          transitions: 3,
        },
        ...{ acquiredMs: Date.now() - 120_000, renewedMs: Date.now() - 60_000, durationSeconds: 2, tickets: [] },
        ...change,
      },
      ref,
    ),
  )

describe('holding', () => {
  test('a lease that nobody has is taken at once, with its labels, and renewed', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { plannedEnd: 1_900_000_000 }))
    const first = record(ref)
    expect(first).toMatchObject({ holder: 'a', stack: 'ns/stack-of-a', plannedEnd: 1_900_000_000, running: true })
    expect(live(ref)?.metadata.labels).toEqual(ref.labels)
    await until(() => record(ref).renewedMs! > first.renewedMs!)
    expect(await readLease(api, ref, { timing })).toMatchObject({ holder: 'a', active: true, expired: false })
    await pause(2500)
    expect(held.lost.aborted).toBe(false)
    expect(await held.release()).toBe(true)
    expect(live(ref)).toBeUndefined()
  })

  test('attempts of one holder share it: the second gets it at once and clears nothing', async () => {
    const ref = fresh()
    const first = await acquireLease(api, ref, options('a'))
    const second = await acquireLease(api, ref, options('a', { wait: false }))
    expect(record(ref)).toMatchObject({ holder: 'a', transitions: 1 })
    first.close()
    await second.release()
  })

  test('a holder that comes back with another stack clears its own old one first', async () => {
    const ref = fresh()
    const first = await acquireLease(api, ref, options('a'))
    first.close()
    const cleared: unknown[] = []
    const second = await acquireLease(
      api,
      ref,
      options('a', { stack: 'ns/other', onTakeover: async p => void cleared.push(p) }),
    )
    expect(cleared).toEqual([{ holder: 'a', stack: 'ns/stack-of-a' }])
    await second.release()
  })

  test('keep leaves it ours for the longer time without renewing; resume takes it up again', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a'))
    await held.keep(900)
    const kept = record(ref)
    expect(kept).toMatchObject({ holder: 'a', stack: 'ns/stack-of-a', running: false, durationSeconds: 900 })
    await pause(700)
    expect(record(ref).renewedMs).toBe(kept.renewedMs)
    expect(await readLease(api, ref, { timing })).toMatchObject({ active: false, expired: false })
    const again = await resumeLease(api, ref, options('a'))
    expect(record(ref)).toMatchObject({ running: true, durationSeconds: 2, stack: 'ns/stack-of-a' })
    await until(() => record(ref).renewedMs! > kept.renewedMs! + 1000)
    expect(held.lost.aborted || again.lost.aborted).toBe(false)
    await again.release()
  })

  test('resume refuses a lease that somebody else holds, naming them, and one that nobody holds', async () => {
    const ref = fresh()
    expect(failure(await resumeLease(api, ref, options('a')).catch(e => e))).toMatchObject({
      code: 'LOCKED',
      what: expect.stringContaining('held by nobody'),
    })
    const other = await acquireLease(api, ref, options('b'))
    expect(failure(await resumeLease(api, ref, options('a')).catch(e => e))).toMatchObject({
      code: 'LOCKED',
      what: expect.stringContaining('held by b since 2'),
    })
    await other.release()
  })

  test("release spares a lease that has become somebody else's", async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { renewEveryMs: 60_000, durationSeconds: 60 }))
    server.store.modify('leases.coordination.k8s.io', 'default', ref.name, o => {
      o.spec = { ...(o.spec as object), holderIdentity: 'b' }
    })
    expect(await held.release()).toBe(false)
    expect(record(ref).holder).toBe('b')
  })

  test('release deletes also when a waiter has changed the lease meanwhile, and when the answer is lost', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { renewEveryMs: 60_000, durationSeconds: 60 }))
    server.store.modify('leases.coordination.k8s.io', 'default', ref.name, o => {
      o.metadata.annotations = { ...o.metadata.annotations, note: 'x' }
    })
    server.faults.add({ match: r => r.method === 'DELETE' && r.path.endsWith(ref.name), dropAnswer: true, times: 1 })
    expect(await held.release()).toBe(true)
    expect(live(ref)).toBeUndefined()
  })

  test('it is renewed, and released, also while those who wait write to it all the time', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a'))
    const { renewedMs } = record(ref)
    let written = 0
    const waiters = setInterval(() => {
      if (live(ref) === undefined) return
      server.store.modify('leases.coordination.k8s.io', 'default', ref.name, o => {
        o.metadata.annotations = { ...o.metadata.annotations, note: String(++written) }
      })
    }, 40)
    await pause(3500)
    expect(held.lost.aborted).toBe(false)
    expect(record(ref).renewedMs!).toBeGreaterThan(renewedMs! + 1500)
    expect(await held.release()).toBe(true)
    clearInterval(waiters)
    expect(live(ref)).toBeUndefined()
    expect(written).toBeGreaterThan(30)
  })

  test('it is lost when it cannot be renewed, before anybody else may take it', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a'))
    const { renewedMs } = record(ref)
    server.faults.add({ match: r => r.method === 'PUT' && r.path.endsWith(ref.name), status: 503 })
    await until(() => held.lost.aborted)
    expect(Date.now()).toBeLessThan(renewedMs! + 2000 + timing.marginMs)
    expect(failure(held.lost.reason)).toMatchObject({
      code: 'LOCKED',
      why: expect.stringContaining('could not be renewed'),
    })
    await expect(held.keep(900)).rejects.toMatchObject({ failure: { code: 'LOCKED' } })
    expect(await held.release()).toBe(false)
    expect(live(ref)).toBeDefined()
  })

  test('it is lost when a read shows another holder, a deleted lease, or one that others had in between', async () => {
    const change: [string, (ref: LeaseRef) => void][] = [
      ['now held by b', ref => void editSpec(ref, { holderIdentity: 'b' })],
      ['deleted it', ref => void server.store.delete('leases.coordination.k8s.io', 'default', ref.name)],
      ['anew', ref => void editSpec(ref, { leaseTransitions: 3 })],
    ]
    for (const [why, apply] of change) {
      const ref = fresh()
      const held = await acquireLease(api, ref, options('a', { durationSeconds: 60, renewEveryMs: 200 }))
      apply(ref)
      await until(() => held.lost.aborted, 3000)
      expect(failure(held.lost.reason).why).toContain(why)
    }
  })
  const editSpec = (ref: LeaseRef, spec: object) =>
    server.store.modify('leases.coordination.k8s.io', 'default', ref.name, o => {
      o.spec = { ...(o.spec as object), ...spec }
    })

  test('a renewal that arrives late does not bring a released lease back', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { renewEveryMs: 100 }))
    server.faults.add({ match: r => r.method === 'PUT' && r.path.endsWith(ref.name), delayMs: 1500, times: 1 })
    const puts = () => requestsOf(ref).filter(r => r.method === 'PUT').length
    const before = puts()
    await until(() => puts() > before)
    server.store.delete('leases.coordination.k8s.io', 'default', ref.name)
    held.close()
    await pause(1800)
    expect(live(ref)).toBeUndefined()
  })

  test('a create, a renewal and a keep whose answers are lost are found to have been carried out', async () => {
    const ref = fresh()
    const lose = (method: string) =>
      server.faults.add({ match: r => r.method === method && r.path.includes('/leases'), dropAnswer: true, times: 1 })
    lose('POST')
    const held = await acquireLease(api, ref, options('a'))
    expect(record(ref)).toMatchObject({ holder: 'a', transitions: 1 })
    lose('PUT')
    await pause(800)
    lose('PUT')
    await held.keep(900)
    expect(record(ref)).toMatchObject({ durationSeconds: 900, running: false })
    expect(held.lost.aborted).toBe(false)
  })

  test('a missing right is named, not retried', async () => {
    const ref = fresh()
    const policy = (a: { verb: string }) => a.verb !== 'create'
    const limited = open({ token: server.tokens.add({ name: 'reader', policy }) })
    expect(failure(await acquireLease(limited, ref, options('a')).catch(e => e))).toMatchObject({ code: 'PREFLIGHT' })
    await limited.close()
    expect(requestsOf(ref).filter(r => r.method === 'POST')).toHaveLength(1)
  })

  test('the verbs it needs are get, list, watch, create, update and delete on leases', async () => {
    const ref = fresh()
    const used = new Set<string>()
    const token = (name: string) =>
      server.tokens.add({
        name,
        policy: a => {
          used.add(`${a.verb} ${a.resource}`)
          return a.resource === 'leases' && ['get', 'list', 'watch', 'create', 'update', 'delete'].includes(a.verb)
        },
      })
    const [one, two] = [open({ token: token('one') }), open({ token: token('two') })]
    const first = await acquireLease(one, ref, options('a'))
    const second = acquireLease(two, ref, options('b'))
    await until(() => record(ref).tickets.length === 1)
    await first.release()
    await (await second).release()
    expect([...used].sort()).toEqual(['create', 'delete', 'get', 'list', 'update', 'watch'].map(v => `${v} leases`))
    await Promise.all([one.close(), two.close()])
  })
})

describe('taking over', () => {
  test('an expired lease is taken, the dead stack is cleared while renewing, and only then ours is named', async () => {
    const ref = fresh()
    leave(ref)
    const seen: unknown[] = []
    const held = await acquireLease(
      api,
      ref,
      options('a', {
        onTakeover: async previous => {
          const before = record(ref)
          await pause(2600)
          seen.push(previous, before.holder, before.stack, record(ref).renewedMs! > before.renewedMs! + 1000)
        },
      }),
    )
    expect(seen).toEqual([{ holder: 'dead', stack: 'ns/dead-stack' }, 'a', undefined, true])
    expect(record(ref)).toMatchObject({ holder: 'a', stack: 'ns/stack-of-a', toClear: [], transitions: 4 })
    await held.release()
  })

  test('who dies while clearing leaves the duty to the next one', async () => {
    const ref = fresh()
    leave(ref, { holder: 'second', stack: undefined, toClear: [{ holder: 'first', stack: 'ns/old' }] })
    const cleared: unknown[] = []
    const held = await acquireLease(api, ref, options('a', { onTakeover: async p => void cleared.push(p) }))
    expect(cleared).toEqual([{ holder: 'first', stack: 'ns/old' }])
    expect(record(ref).stack).toBe('ns/stack-of-a')
    await held.release()
  })

  test('when clearing fails the lease is free at once, the duty stays, and the error goes to the caller', async () => {
    const ref = fresh()
    leave(ref)
    const broken = new Error('the stack would not go')
    await expect(acquireLease(api, ref, options('a', { onTakeover: () => Promise.reject(broken) }))).rejects.toBe(
      broken,
    )
    expect(record(ref)).toMatchObject({ holder: undefined, stack: undefined })
    expect(await readLease(api, ref)).toMatchObject({ expired: true, toClear: [{ stack: 'ns/dead-stack' }] })
    const cleared: unknown[] = []
    const next = options('b', { wait: false, onTakeover: async p => void cleared.push(p) })
    await (await acquireLease(api, ref, next)).release()
    expect(cleared).toEqual([{ holder: 'dead', stack: 'ns/dead-stack' }])
  })

  test('clearing is told to stop when the lease is lost meanwhile, and nothing is written over the new holder', async () => {
    const ref = fresh()
    leave(ref)
    const error = await acquireLease(
      api,
      ref,
      options('a', {
        onTakeover: async (_previous, signal) => {
          server.store.modify('leases.coordination.k8s.io', 'default', ref.name, o => {
            o.spec = { ...(o.spec as object), holderIdentity: 'b' }
          })
          await pause(5000, signal)
        },
      }),
    ).catch(e => e)
    expect(failure(error)).toMatchObject({ code: 'LOCKED', why: expect.stringContaining('held by b') })
    expect(record(ref)).toMatchObject({ holder: 'b', toClear: [{ stack: 'ns/dead-stack' }] })
  })

  test('a lease that is not renewed is not taken before duration and margin are over', async () => {
    const ref = fresh()
    const first = await acquireLease(api, ref, options('a'))
    const second = acquireLease(api, ref, options('b', { onTakeover: async () => undefined }))
    await until(() => record(ref).tickets.length === 1)
    first.close()
    const { renewedMs } = record(ref)
    const held = await second
    expect(record(ref).acquiredMs).toBeGreaterThan(renewedMs! + 2000 + timing.marginMs - 100)
    await held.release()
  })

  test('runners whose clocks are ten minutes apart agree on when a lease has run out', async () => {
    const ref = fresh()
    const ahead = open({ clock: () => Date.now() + 600_000 })
    const behind = open({ clock: () => Date.now() - 600_000 })
    const first = await acquireLease(behind, ref, options('a'))
    expect(Math.abs(record(ref).renewedMs! - Date.now())).toBeLessThan(1500)
    const refused = await acquireLease(ahead, ref, options('b', { wait: false })).catch(e => e)
    expect(failure(refused).code).toBe('LOCKED')
    expect(await readLease(ahead, ref, { timing })).toMatchObject({ active: true })
    first.close()
    await (await acquireLease(ahead, ref, options('b', { onTakeover: async () => undefined }))).release()
    await Promise.all([ahead.close(), behind.close()])
  })

  test('a renewal from the future counts from when it was seen', async () => {
    const ref = fresh()
    leave(ref, { renewedMs: Date.now() + 3_600_000 })
    const started = Date.now()
    const held = await acquireLease(api, ref, options('a', { onTakeover: async () => undefined }))
    expect(Date.now() - started).toBeGreaterThan(3000)
    await held.release()
  })

  test('what others wrote into the annotations is never trusted', async () => {
    const hostile = ['null', '{"a":1}', '[null,1,{"holder":7}]', '[[[[', `"${'x'.repeat(40_000)}"`]
    for (const text of hostile) {
      const ref = fresh()
      leave(ref, { stack: undefined })
      server.store.modify('leases.coordination.k8s.io', 'default', ref.name, (o: KubeObject) => {
        o.metadata.annotations = {
          'llm-d.ai/bench-lease-tickets': text,
          'llm-d.ai/bench-lease-to-clear': text,
          'llm-d.ai/bench-lease-stack': '\u001b[2Jgone',
          'llm-d.ai/bench-lease-planned-end': 'Infinity',
        }
      })
      await (await acquireLease(api, ref, options('a'))).release()
    }
  })
})

describe('waiting', () => {
  test('lock: fail fails at once and names the holder, since when and until when', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { plannedEnd: 1_900_000_000 }))
    const error = failure(await acquireLease(api, ref, options('b', { wait: false })).catch(e => e))
    expect(error.code).toBe('LOCKED')
    expect(error.what).toMatch(/lock-\d+ .*held by a since \d{4}-.*Z, planned until 2030-03-17T17:46:40Z/)
    expect(error.why && error.next).toBeTruthy()
    expect(record(ref).tickets).toEqual([])
    await held.release()
  })

  test('waiters get it in the order in which they came, also across a release that deletes the lease', async () => {
    const ref = fresh()
    const order: string[] = []
    const first = await acquireLease(api, ref, options('a'))
    const waiters = []
    for (const name of ['b', 'c', 'd']) {
      waiters.push(
        acquireLease(api, ref, options(name)).then(async held => {
          order.push(name)
          await pause(300)
          await held.release()
        }),
      )
      await until(() => record(ref).tickets.some(t => t.holder === name))
    }
    await first.release()
    await Promise.all(waiters)
    expect(order).toEqual(['b', 'c', 'd'])
    expect(lines.filter(l => l.includes('held by a') && l.includes('place 3 of 3'))).toHaveLength(1)
  })

  test('the log has a line per change, not per look', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a'))
    const waiter = acquireLease(api, ref, options('b'))
    await pause(2500)
    expect(lines).toEqual([
      expect.stringMatching(/waiting for Lease lock-.*held by a since .*; place 1 of 1 in the queue/),
    ])
    await held.release()
    await (await waiter).release()
  })

  test('a waiter that is gone holds nobody up for longer than its ticket lives', async () => {
    const ref = fresh()
    const now = Date.now()
    leave(ref, { stack: undefined, tickets: [{ holder: 'ghost', at: now - 50_000, seen: now }] })
    const held = await acquireLease(api, ref, options('a'))
    expect(Date.now() - now).toBeGreaterThan(timing.ticketMs - 1500)
    await held.release()
  })

  test('who gives up leaves the queue and names the holder; the holder keeps it', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a'))
    const error = await acquireLease(api, ref, options('b', { timeoutMs: 700 })).catch(e => e)
    expect(failure(error)).toMatchObject({ code: 'LOCKED', what: expect.stringContaining('held by a') })
    expect(record(ref)).toMatchObject({ holder: 'a', tickets: [] })
    const abort = new AbortController()
    const waiter = acquireLease(api, ref, options('c', { signal: abort.signal })).catch(e => e)
    await until(() => record(ref).tickets.length === 1)
    abort.abort(new Error('stop'))
    expect(await waiter).toMatchObject({ message: 'stop' })
    expect(record(ref).tickets).toEqual([])
    expect(held.lost.aborted).toBe(false)
    await held.release()
  })

  test('the time to wait is asked anew for every holder, with its planned end', async () => {
    const ref = fresh()
    const asked: unknown[] = []
    const timeoutMs = (end: number | undefined) => {
      asked.push(end)
      return end === 2 ? 300 : 20_000
    }
    const held = await acquireLease(api, ref, options('a', { plannedEnd: 1 }))
    const waiter = acquireLease(api, ref, options('c', { timeoutMs })).catch(e => e)
    await until(() => record(ref).tickets.length === 1)
    server.store.modify('leases.coordination.k8s.io', 'default', ref.name, o => {
      o.spec = { ...(o.spec as object), holderIdentity: 'b' }
      o.metadata.annotations = { ...o.metadata.annotations, 'llm-d.ai/bench-lease-planned-end': '2' }
    })
    expect(failure(await waiter).what).toContain('held by b')
    expect(asked).toEqual([1, 2])
    held.close()
  })

  test('while it waits only tickets are written: no reads but the watch', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { durationSeconds: 60, renewEveryMs: 60_000 }))
    const slow = { ...timing, ticketMs: 60_000, refreshMs: 20_000 }
    const waiter = acquireLease(api, ref, options('b', { timing: slow }))
    await until(() => record(ref).tickets.length === 1)
    await pause(300)
    const before = requestsOf(ref).length
    await pause(3000)
    expect(requestsOf(ref).length - before).toBe(0)
    await held.release()
    await (await waiter).release()
  })

  test('a waiter outlives an API server that is away for a while', async () => {
    const ref = fresh()
    const held = await acquireLease(api, ref, options('a', { durationSeconds: 60, renewEveryMs: 60_000 }))
    const waiter = acquireLease(api, ref, options('b'))
    await until(() => record(ref).tickets.length === 1)
    const stop = server.faults.add({ match: r => r.path.includes('/leases'), status: 503 })
    server.faults.dropWatches()
    await pause(2500)
    stop()
    await held.release()
    await (await waiter).release()
  })

  test('others who are faster do not make a waiter slower', async () => {
    const ref = fresh()
    leave(ref, { holder: undefined, stack: undefined })
    const conflict = { status: 409, reason: 'Conflict', times: 8 }
    server.faults.add({ match: r => r.method === 'PUT' && r.path.endsWith(ref.name), ...conflict })
    const started = Date.now()
    const held = await acquireLease(api, ref, options('a'))
    expect(Date.now() - started).toBeLessThan(3000)
    await held.release()
  })

  test('a watch that has stopped does not make it believe in a holder of the past again', async () => {
    const ref = fresh()
    const long = { durationSeconds: 60, renewEveryMs: 60_000 }
    const first = await acquireLease(api, ref, options('a', long))
    const waiter = acquireLease(api, ref, options('b'))
    await until(() => record(ref).tickets.length === 1)
    await pause(200)
    server.faults.add({
      match: r => r.query.watch === 'true' && r.query.fieldSelector?.endsWith(ref.name) === true,
      status: 503,
    })
    server.faults.dropWatches()
    await pause(50)
    await first.release()
    const second = await acquireLease(api, ref, options('c', long))
    await pause(4500)
    const holders = lines.map(l => / held by (\w)/.exec(l)?.[1]).filter(Boolean)
    expect(holders).toEqual(['a', 'c'])
    server.faults.clear()
    await second.release()
    await (await waiter).release()
  })
})
